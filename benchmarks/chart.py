"""A bar chart of speeds as SVG."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, BAR, LABEL, SCALE = 720, 15, 240, 400  # pixels


def chart(results: Sequence[Mapping[str, dict[str, float]]]) -> str:
    """Returns a chart: for each workload a bar for each contestant, the fastest on top, as a fraction of the limit."""
    lines, y = list[str](), 10
    for result in results:
        y += 24
        lines.append(f'<text x="10" y="{y}" font-weight="bold">{escape(str(result["workload"]))}</text>')
        y += 8
        for name, speed in sorted(result["speed"].items(), key=lambda item: -item[1]):
            ours = "#1b7837" if name.startswith("exactloop") else "#888888" if "limit" in name else "#9ecae1"
            length = SCALE * min(speed, 1.1)
            lines.append(f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
            lines.append(f'<rect x="{LABEL}" y="{y}" width="{length:.0f}" height="{BAR - 3}" fill="{ours}"/>')
            lines.append(f'<text x="{LABEL + length + 5:.0f}" y="{y + 11}">{speed:.2f}</text>')
            y += BAR
    size = f'width="{WIDTH}" height="{y + 12}" viewBox="0 0 {WIDTH} {y + 12}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 12}" fill="white"/>', *lines, "</svg>\n"])
