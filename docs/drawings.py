"""The documentation's drawings, as SVG: `python docs/drawings.py` writes them into docs/_static."""

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parent / "_static"
INK, GREY, PALE = "#263238", "#90a4ae", "#eceff1"
BLUE, GREEN, ORANGE, RED = "#1565c0", "#2e7d32", "#ef6c00", "#c62828"
LIGHT = {BLUE: "#bbdefb", GREEN: "#c8e6c9", ORANGE: "#ffe0b2", RED: "#ffcdd2", GREY: PALE}

# subnets of one Fashion-MNIST training: latency (ms, onnxruntime, one thread), accuracy (%), its standard error
SUBNETS = {
    "smallest, 81 k parameters": (0.0266, 87.90, 0.33),
    "middle, 408 k": (0.0612, 89.17, 0.31),
    "largest, 712 k": (0.0799, 90.60, 0.29),
}


def text(x: float, y: float, words: str, size: int = 14, colour: str = INK, anchor: str = "middle") -> str:
    """Words, centred on x by default."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def code(x: float, y: float, words: str, size: int = 14, colour: str = INK, anchor: str = "middle") -> str:
    """Words in a fixed-width font."""
    return text(x, y, words, size, colour, anchor).replace("<text ", '<text font-family="monospace" ', 1)


def box(x: float, y: float, width: float, height: float, colour: str = GREY, *, hollow: bool = False) -> str:
    """A rectangle; a hollow one is dashed."""
    style = f'fill="{"none" if hollow else LIGHT[colour]}" stroke="{colour}"'
    dashes = ' stroke-dasharray="5 4"' if hollow else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" {style}{dashes}/>'


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str = INK, *, arrow: bool = False, width: float = 1.5
) -> str:
    """A straight line."""
    end = ' marker-end="url(#arrow)"' if arrow else ""
    points = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {points} stroke="{colour}" stroke-width="{width:g}"{end}/>'


def dot(x: float, y: float, colour: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="6" fill="{colour}"/>'


def page(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    """An SVG on a white ground, so that it can be read in dark themes, too."""
    marker = (
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{INK}"/></marker></defs>'
    )
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img"><title>{escape(title)}</title>'
    )
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([opening, marker, ground, *parts, "</svg>", ""])


def tradeoff() -> str:
    """Accuracy over latency of three subnets of one training."""

    def at(latency: float, accuracy: float) -> tuple[float, float]:
        return 80 + (latency - 0.02) / 0.07 * 560, 300 - (accuracy - 87) / 4.5 * 260

    parts = [line(80, 300, 640, 300), line(80, 300, 80, 40)]
    for latency in (0.02, 0.04, 0.06, 0.08):
        x, _ = at(latency, 87)
        parts += [line(x, 300, x, 306), text(x, 322, f"{latency:g}", 13)]
    for accuracy in (87, 88, 89, 90, 91):
        _, y = at(0.02, accuracy)
        parts += [line(74, y, 80, y), line(80, y, 640, y, PALE), text(68, y + 5, f"{accuracy}", 13, anchor="end")]
    points = [at(latency, accuracy) for latency, accuracy, _ in SUBNETS.values()]
    parts += [line(*a, *b, BLUE, width=2) for a, b in pairwise(points)]
    for name, (latency, accuracy, error) in SUBNETS.items():
        (x, y), (_, low), (_, high) = (at(latency, accuracy + change) for change in (0, -error, error))
        parts += [line(x, low, x, high, BLUE), dot(x, y, BLUE)]
        side, up = (-12, -12) if latency > 0.05 else (12, 24)  # away from the curve
        label = f"{name}: {accuracy:.1f} %"
        parts.append(text(x + side, y + up, label, 14, anchor="end" if side < 0 else "start"))
    parts += [
        text(360, 346, "latency of one image (ms, onnxruntime, one thread)", 13),
        text(80, 24, "test accuracy (%), Fashion-MNIST; one training, three subnets cut out of it", 14, anchor="start"),
    ]
    return page(680, 360, "Accuracy over latency of three subnets of one training", parts)


def workflow() -> str:
    """The commands, and the files between them."""
    steps = [
        ("fit", "runs/NAME/", "train once"),
        ("profile", "profile.json", "measure a device"),
        ("search", "search.json", "best within a budget"),
        ("extract", "a folder", "a plain model"),
        ("export", "model.onnx, …", "a file for a runtime"),
    ]
    parts = []
    for at, (command, file, purpose) in enumerate(steps):
        x = 20 + 148 * at
        parts += [box(x, 30, 120, 60, BLUE), code(x + 60, 56, command, 16), text(x + 60, 78, purpose, 11)]
        parts += [line(x + 60, 90, x + 60, 118, GREY, arrow=True), code(x + 60, 138, file, 12, GREEN)]
        if at:
            parts.append(line(x - 28, 60, x - 2, 60, arrow=True))
    return page(752, 160, "The commands fit, profile, search, extract and export, and what each writes", parts)


def shared_dim() -> str:
    """Two weights that share a dim: one choice shrinks an axis of each."""
    parts = [text(190, 26, "fc1.weight", 14), code(190, 46, '"hidden embed"', 13, BLUE)]
    parts += [box(110, 60, 160, 200, hollow=True), box(110, 60, 160, 100, BLUE)]
    parts += [text(500, 66, "fc2.weight", 14), code(500, 86, '"embed hidden"', 13, BLUE)]
    parts += [box(400, 100, 200, 160, hollow=True), box(400, 100, 100, 160, BLUE)]
    parts += [code(92, 115, "hidden", 13, ORANGE, "end"), line(100, 62, 100, 158, ORANGE, width=3)]
    parts += [code(450, 282, "hidden", 13, ORANGE), line(402, 268, 498, 268, ORANGE, width=3)]
    parts += [text(190, 282, "embed", 13), text(628, 185, "embed", 13)]
    parts += [text(190, 215, "stored, not read", 12, GREY), text(550, 185, "not read", 12, GREY)]
    parts += [text(190, 115, "active", 13), text(450, 185, "active", 13)]
    parts += [line(290, 110, 385, 110, ORANGE, arrow=True), text(336, 100, "same dim", 12, ORANGE)]
    return page(680, 300, "Two weights that share the dim hidden", parts)


def gates() -> str:
    """A container of four blocks at depth 2: the blocks that it leaves out have no dims in the arch."""
    parts = [code(40, 30, "depth = 2", 15, ORANGE, "start"), text(160, 30, "of (2, 3, 4)", 13, GREY, "start")]
    for at in range(4):
        x, runs = 40 + 160 * at, at < 2
        parts += [box(x, 50, 130, 90, GREEN if runs else GREY, hollow=not runs)]
        parts += [code(x + 65, 80, f"blocks.{at}", 14, INK if runs else GREY)]
        parts += [code(x + 65, 104, f"hidden.{at}", 12, BLUE if runs else GREY)]
        parts += [text(x + 65, 126, "runs" if runs else "gate closed", 12, GREEN if runs else GREY)]
        if at:
            parts.append(line(x - 28, 95, x - 3, 95, INK if runs else GREY, arrow=runs))
    parts += [text(40, 176, "arch:", 14, anchor="start")]
    parts += [code(90, 176, '{"depth": 2, "hidden.0": 64, "hidden.1": 32}', 14, INK, "start")]
    note = "hidden.2 and hidden.3 don't exist in this arch: equal subnets are equal archs"
    parts += [text(40, 200, note, 13, GREY, "start")]
    return page(680, 216, "A container of four blocks at depth 2", parts)


def costs() -> str:
    """A cost as a sum of products of sizes, each behind its gates."""
    rows = [
        ("stem", "49 · 16 · width", "always"),
        ("blocks.0.0", "49 · width · hidden.0", "always"),
        ("blocks.0.2", "49 · hidden.0 · width", "always"),
        ("blocks.3.0", "49 · width · hidden.3", "depth ≥ 4"),
        ("blocks.3.2", "49 · hidden.3 · width", "depth ≥ 4"),
    ]
    parts = [text(100, 28, "layer", 13, GREY), text(290, 28, "MACs", 13, GREY), text(460, 28, "counted if", 13, GREY)]
    for at, (layer, term, gate) in enumerate(rows):
        y = 46 + 36 * at
        colour = ORANGE if "≥" in gate else GREEN
        parts += [box(30, y, 140, 28), code(100, y + 19, layer, 13)]
        parts += [box(190, y, 200, 28, BLUE), code(290, y + 19, term, 13)]
        parts += [box(410, y, 100, 28, colour), text(460, y + 19, gate, 13)]
    parts += [line(525, 130, 560, 130, arrow=True)]
    parts += [text(622, 112, "one sum for", 13), text(622, 130, "a million archs", 13)]
    parts += [code(622, 154, "int64 array", 13, BLUE)]
    return page(690, 236, "MACs as a sum of products of sizes", parts)


DRAWINGS: dict[str, Callable[[], str]] = {
    "tradeoff": tradeoff,
    "workflow": workflow,
    "shared_dim": shared_dim,
    "gates": gates,
    "costs": costs,
}

if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (FOLDER / f"{name}.svg").write_text(draw(), "utf-8")
