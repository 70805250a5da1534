"""A bar chart of speeds as SVG."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, BAR, LABEL, SCALE = 720, 15, 240, 420  # pixels
# In the tables alone: what shows the cost of one thing, and ways that nobody chooses for speed.
LEFT_OUT = ("that averages", "idle hooks", "at every step", "batch callback", "1 step a loop", "one call a step")
WORKLOADS = ("tiny MLP, 2,000", "digits CNN", "LSTM", "MLP 1024")  # begin with


def chart(results: Sequence[Mapping[str, dict[str, float]]]) -> str:
    """Returns a chart: for each workload a bar for each contestant, the fastest on top, as a fraction of the limit."""
    lines, y = list[str](), 10
    for result in results:
        if not str(result["workload"]).startswith(WORKLOADS):
            continue
        y += 24
        lines.append(f'<text x="10" y="{y}" font-weight="bold">{escape(str(result["workload"]))}</text>')
        y += 8
        bars = {name: it for name, it in result["speed"].items() if not any(part in name for part in LEFT_OUT)}
        for name, speed in sorted(bars.items(), key=lambda item: -item[1]):
            ours = "#1b7837" if name.startswith("exactloop") else "#888888" if "limit" in name else "#9ecae1"
            length = SCALE * speed / max(bars.values())
            lines.append(f'<text x="{LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
            lines.append(f'<rect x="{LABEL}" y="{y}" width="{length:.0f}" height="{BAR - 3}" fill="{ours}"/>')
            lines.append(f'<text x="{LABEL + length + 5:.0f}" y="{y + 11}">{speed:.2f}</text>')
            y += BAR
    size = f'width="{WIDTH}" height="{y + 12}" viewBox="0 0 {WIDTH} {y + 12}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 12}" fill="white"/>', *lines, "</svg>\n"])
