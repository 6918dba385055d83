"""A line chart, described once: `charts` draws it for a page, `figures` for a file, `terminal`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmsuite.report.scales import Scale, fitted


@dataclass(frozen=True)
class Series:
    """A line: points (x, y) in the order of x, at least one, finite."""

    label: str
    points: Sequence[tuple[float, float]]
    style: int  # picks colour and dashes; a model has the same in all charts


@dataclass(frozen=True)
class LineChart:
    """Lines over common axes, at least one."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    y_logarithmic: bool = False
    counts: bool = False  # x are whole numbers, each with a tick of its own

    def x_scale(self) -> Scale:
        """The axis across, which ends at the last point."""
        xs = [x for line in self.series for x, _ in line.points]
        return fitted(xs, margin=0.0 if len(set(xs)) > 1 else 0.04)

    def y_scale(self) -> Scale:
        """The axis upwards."""
        ys = (y for line in self.series for _, y in line.points)
        return fitted(ys, logarithmic=self.y_logarithmic)

    def x_ticks(self, about: int) -> list[float]:
        """The numbers written along the axis across."""
        if self.counts:
            return sorted({x for line in self.series for x, _ in line.points})
        return self.x_scale().ticks(about)

    def in_words(self) -> str:
        """What a screen reader says instead of the picture: where every line begins and ends."""
        lines = (
            f"{line.label} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
            for line in self.series
        )
        return f"{self.title}. {self.y_label} over {self.x_label}: {'; '.join(lines)}."
