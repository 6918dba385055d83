"""Every smoothing once more, straight from its formula: dictionaries, float64, no cleverness.

`Formula.distribution` is the recursion of the papers, from the top down, one context after another.
It uses no code of `lmsuite.ngram`. So if the two agree, it is not because they share an error.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lmsuite.models.ngram import NgramSettings

UNK, BOS, EOS = 0, 1, 2
Gram = tuple[int, ...]
Floats = NDArray[np.float64]


class Formula:
    """One smoothing of one small text."""

    def __init__(
        self,
        ids: Sequence[int],
        size: int,
        impossible: Sequence[int],
        settings: NgramSettings,
        *,
        lines: bool,
    ) -> None:
        """A model of ids (N,), over `size` words; with `lines`, the ids have ``<s>``, ``</s>``."""
        self.ids, self.lines, self.settings = list(ids), lines, settings
        self.size, self.order = size, settings.order
        self.possible = [word for word in range(size) if word not in set(impossible)]
        self.counts = counted(self.ids, self.order, lines=lines)
        self.cutoffs = [*settings.prune, *[0] * self.order][: self.order]
        for n in range(1, self.order):  # the last number of `prune` holds for all longer n-grams
            if settings.prune and n >= len(settings.prune):
                self.cutoffs[n] = settings.prune[-1]
        self.followers = [followers(counts) for counts in self.counts]
        self.used = self._adjusted() if "kneser-ney" in settings.smoothing else self.counts
        self.discounts = [self._discounts(counts) for counts in self.used]
        self.kept_parts = [good_turing(counts) for counts in self.counts]
        self.weights = self._mixing_weights() if settings.smoothing == "jelinek-mercer" else []
        self._known: dict[Gram, Floats] = {}

    def after(self, history: Sequence[int]) -> Floats:
        """Probabilities (V,) of the next word; the history begins where the text begins."""
        context = [BOS, *history]
        begin = len(context) - 1 - context[::-1].index(BOS)
        context = context[begin if self.lines else begin + 1 :]
        return self.distribution(tuple(context[max(0, len(context) - self.order + 1) :]))

    def distribution(self, context: Gram) -> Floats:
        """p(w | context) for every w, or stupid backoff's scores."""
        if context not in self._known:
            lower = self.distribution(context[1:]) if context else self._base()
            self._known[context] = self._step(context, lower)
        return self._known[context]

    def _base(self) -> Floats:
        base = np.zeros(self.size)
        if self.settings.interpolate_unigrams or "kneser-ney" not in self.settings.smoothing:
            base[self.possible] = 1 / len(self.possible)
        else:
            base[UNK] = 1
        return base

    def _step(self, context: Gram, lower: Floats) -> Floats:
        n = len(context) + 1
        counts, used = self.counts[n - 1], self.used[n - 1]
        words = self.followers[n - 1].get(context, [])
        total = sum(used[(*context, word)] for word in words)
        if not total:
            return lower
        kept = [word for word in words if n == 1 or counts[(*context, word)] > self.cutoffs[n - 1]]
        smoothing = self.settings.smoothing
        share, left = self._shares(context, words, total)
        if smoothing == "stupid-backoff":
            # A pruned context is treated as one that was never seen: its factor is 1.
            pruned = n > 2 and self.counts[n - 2][context] <= self.cutoffs[n - 2]
            scores = (1.0 if pruned else left) * lower
            for word in kept:
                scores[word] = share[word]
            return scores
        left += sum(share[word] for word in words if word not in set(kept))
        if smoothing == "katz" and n > 1:
            return backed_off({word: share[word] for word in kept}, left, lower)
        probs = left * lower
        for word in kept:
            probs[word] += share[word]
        return probs

    def _shares(
        self, context: Gram, words: Sequence[int], total: int
    ) -> tuple[dict[int, float], float]:
        """The share that each word after a context keeps, and the weight that all leave over."""
        n, smoothing = len(context) + 1, self.settings.smoothing
        count = {word: self.used[n - 1][(*context, word)] for word in words}
        plain = {word: count[word] / total for word in words}
        if n == 1 and not self.settings.interpolate_unigrams and "kneser-ney" not in smoothing:
            return plain, 0.0
        match smoothing:
            case "mle":
                return plain, 0.0
            case "stupid-backoff":
                return plain, 0.4
            case "witten-bell":
                denominator = total + len(words)
                return {w: c / denominator for w, c in count.items()}, len(words) / denominator
            case "add-k":
                if n < self.order and context[:1] != (BOS,):
                    return dict.fromkeys(words, 0.0), 1.0
                added = self.settings.k * len(self.possible)
                return {w: c / (total + added) for w, c in count.items()}, added / (total + added)
            case "jelinek-mercer":
                weight = self.weights[n - 1][int(np.log2(total))]
                return {w: weight * p for w, p in plain.items()}, 1 - weight
            case "katz":
                parts = self.kept_parts[n - 1]
                retained = {w: c * parts.get(c, 1.0) for w, c in count.items()}
                lost = total - sum(retained.values())
                if lost < 1e-9:
                    lost, total = 1.0, total + 1
                return {w: r / total for w, r in retained.items()}, lost / total
        off = {w: self.discounts[n - 1][min(c, 3)] for w, c in count.items()}
        return {w: (c - off[w]) / total for w, c in count.items()}, sum(off.values()) / total

    def _adjusted(self) -> list[dict[Gram, int]]:
        """Kneser-Ney's counts: below the highest order, the number of words before an n-gram."""
        adjusted: list[dict[Gram, int]] = []
        for n in range(1, self.order):
            before: dict[Gram, set[int]] = defaultdict(set)
            for gram in self.counts[n]:
                before[gram[1:]].add(gram[0])
            if not self.lines:
                before[tuple(self.ids[:n])].add(-1)
            adjusted.append(
                {
                    gram: count if gram[0] == BOS else len(before[gram])
                    for gram, count in self.counts[n - 1].items()
                }
            )
        return [*adjusted, self.counts[-1]]

    def _discounts(self, counts: dict[Gram, int]) -> list[float]:
        """The discounts of the counts 0, 1, 2, and 3 or more."""
        n1, n2, n3, n4 = (sum(1 for c in counts.values() if c == r) for r in (1, 2, 3, 4))
        if self.settings.smoothing == "modified-kneser-ney":
            if n1 and n2 and n3:
                y = n1 / (n1 + 2 * n2)
                found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
                if all(0 <= d <= r for r, d in enumerate(found, start=1)):
                    return [0.0, *found]
            return [0.0, 0.5, 1.0, 1.5]
        if self.settings.discount is not None:
            return [0.0, *[self.settings.discount] * 3]
        return [0.0, *[n1 / (n1 + 2 * n2) if n1 and n2 else 0.75] * 3]

    def _mixing_weights(self) -> list[list[float]]:
        """Jelinek-Mercer's weights, one for each order and power of two, from the last tenth."""
        cut = len(self.ids) - len(self.ids) // 10
        if self.lines:
            cut = min((i for i in range(cut, len(self.ids)) if self.ids[i] == BOS), default=None)
            cut = len(self.ids) if cut is None else cut
        counts = counted(self.ids[:cut], self.order, lines=self.lines)
        weights = [[0.5] * 32 for _ in range(self.order)]
        held_out = self.ids[cut:]
        if not any(word != BOS for word in held_out) or not counts[0]:
            return weights
        totals = [context_totals(of_order) for of_order in counts]
        base = self._base()
        evidence = []  # for every word: its base probability, and (bucket, frequency) an order
        for i, word in enumerate(held_out):
            if word == BOS:
                continue
            history = [BOS, *held_out[:i]]
            begin = len(history) - 1 - history[::-1].index(BOS)
            history = history[begin if self.lines else begin + 1 :]
            told: list[tuple[int, float] | None] = []
            for n in range(1, self.order + 1):
                context = tuple(history[len(history) - n + 1 :])
                total = totals[n - 1].get(context, 0) if len(history) >= n - 1 else 0
                frequency = counts[n - 1].get((*context, word), 0) / total if total else 0.0
                told.append((int(np.log2(total)), frequency) if total else None)
            evidence.append((base[word], told))
        for _ in range(200):
            updated = one_round(evidence, weights)
            change = max(
                abs(a - b)
                for new, old in zip(updated, weights, strict=True)
                for a, b in zip(new, old, strict=True)
            )
            weights = updated
            if change < 1e-4:
                break
        return weights


def counted(ids: Sequence[int], order: int, *, lines: bool) -> list[dict[Gram, int]]:
    """The count of each n-gram, order by order. ``<s>`` may be the first word, with `lines`."""
    counts: list[dict[Gram, int]] = []
    for n in range(1, order + 1):
        of_order: Counter[Gram] = Counter()
        for i in range(len(ids) - n + 1):
            gram = tuple(ids[i : i + n])
            if BOS not in gram[int(lines) :] and gram != (BOS,):
                of_order[gram] += 1
        counts.append(dict(of_order))
    return counts


def followers(counts: dict[Gram, int]) -> dict[Gram, list[int]]:
    """The words seen after each context."""
    found: dict[Gram, list[int]] = defaultdict(list)
    for gram in counts:
        found[gram[:-1]].append(gram[-1])
    return dict(found)


def context_totals(counts: dict[Gram, int]) -> dict[Gram, int]:
    totals: Counter[Gram] = Counter()
    for gram, count in counts.items():
        totals[gram[:-1]] += count
    return dict(totals)


def good_turing(counts: dict[Gram, int]) -> dict[int, float]:
    """Katz's d_r: the part of a count r that an n-gram keeps; it is 1 if r is not listed."""
    n = Counter(counts.values())
    for highest in range(5, 0, -1):
        if not all(n[r] for r in range(1, highest + 1)):
            continue
        a = (highest + 1) * n[highest + 1] / n[1]
        parts = {
            r: ((r + 1) * n[r + 1] / (r * n[r]) - a) / ((1 - a) or 1.0)
            for r in range(1, highest + 1)
        }
        if all(0 < part < 1 for part in parts.values()):
            return parts
    return {r: (r - 0.5) / r for r in range(1, 6)}


def backed_off(share: dict[int, float], left: float, lower: Floats) -> Floats:
    """Katz's p(w | h): a seen word has its share, an unseen word a part of what is left."""
    unseen = 1 - sum(lower[word] for word in share)
    probs = np.zeros_like(lower) if unseen < 1e-9 else left / unseen * lower
    for word, part in share.items():
        probs[word] = part / (1 - left) if unseen < 1e-9 else part
    return probs


def one_round(
    evidence: Sequence[tuple[float, list[tuple[int, float] | None]]],
    weights: Sequence[Sequence[float]],
) -> list[list[float]]:
    """Expectation and maximisation: how often each weight was used, per time it could be used."""
    here = [[0.0] * 32 for _ in weights]
    passed = [[0.0] * 32 for _ in weights]
    for base, told in evidence:
        probs = [base]
        for of_order, weight in zip(told, weights, strict=True):
            w, f = (weight[of_order[0]], of_order[1]) if of_order else (0.0, 0.0)
            probs.append(w * f + (1 - w) * probs[-1])
        reached = float(probs[-1] > 0)
        for n in range(len(told), 0, -1):
            of_order = told[n - 1]
            part = reached / probs[n] if probs[n] > 0 else reached
            w = 0.0
            if of_order:
                bucket, frequency = of_order
                w = weights[n - 1][bucket]
                here[n - 1][bucket] += part * w * frequency
                passed[n - 1][bucket] += reached
            reached = part * (1 - w) * probs[n - 1]
    updated = []
    for used, could in zip(here, passed, strict=True):
        whole = sum(used) / sum(could) if sum(could) > 0 else 0.5
        updated.append(
            [
                min(max(u / c if c > 0 else whole, 0.001), 0.999)
                for u, c in zip(used, could, strict=True)
            ]
        )
    return updated
