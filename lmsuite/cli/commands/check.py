"""``lm check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lmsuite.cli.options import DEFAULT_FOLDER, JsonOption, ModelArgument, ModelsOption, SeedOption
from lmsuite.cli.streams import write_json
from lmsuite.cli.tables import Column, show_table
from lmsuite.errors import LmError

if TYPE_CHECKING:
    from lmsuite.analysis.checks import Finding


def check(
    model: ModelArgument,
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, help="Gradients compared in each parameter array."),
    ] = 20,
    seed: SeedOption = 1,
    as_json: JsonOption = False,
    models: ModelsOption = DEFAULT_FOLDER,
) -> None:
    """Verify a model: sums of probabilities, scores, gradients.

    \b
    Examples:
      lm check rnn
      lm check ngram --json

    Every byte of the file is read. The scores of a text are compared with scores that are computed
    token by token. The gradients of a network's architecture, derived by hand, are compared with
    central differences in float64; the table shows the largest relative error in each array. The
    command exits with 1 if anything is wrong.
    """
    import numpy as np

    from lmsuite.analysis.checks import check_distributions, check_network, check_scores
    from lmsuite.models.neural import NeuralModel
    from lmsuite.models.ngram import NgramModel
    from lmsuite.store.artefact import verify
    from lmsuite.store.opening import open_model

    opened = open_model(models, model)
    if opened.manifest is not None:
        verify(opened.path)
    if isinstance(opened.model, NgramModel):
        opened.model.table.check()
    rng = np.random.default_rng(seed)
    findings = [check_scores(opened.model, rng)]
    if opened.model.is_normalised:
        findings.append(check_distributions(opened.model, rng))
    if isinstance(opened.model, NeuralModel):
        findings += check_network(opened.model, samples, rng)
    _show(findings, as_json=as_json)
    wrong = [finding.what for finding in findings if not finding.passed]
    if wrong:
        raise LmError(f"{opened.name} fails {len(wrong)} of {len(findings)} checks: {wrong[0]}")


def _show(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        write_json([vars(finding) | {"passed": finding.passed} for finding in findings])
        return
    columns = [Column("check"), Column("worst at"), Column("error", True), Column("limit", True)]
    show_table(
        [*columns, Column("")],
        [
            [
                finding.what,
                finding.where,
                f"{finding.error:.1e}",
                f"{finding.limit:.0e}",
                "passed" if finding.passed else "FAILED",
            ]
            for finding in findings
        ],
    )
