"""Draws the benchmarks' results as an SVG bar chart, without a library."""

from xml.sax.saxutils import escape

WIDTH = 900
LEFT = 150              # of the bars
RIGHT = 70              # room for the numbers
ROW = 24
BAR = 15
COLOURS = {"integer": "#2f6fb0", "start-up": "#c2701c", "scalar FP": "#3a8f4d",
           "system": "#7d5ba6"}
OTHER = "#777777"
STYLE = ("text{font:13px 'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#222}"
         ".h{font-size:17px;font-weight:bold}.s{font-size:12px;fill:#555}"
         ".n{font-weight:bold}.w{fill:#b00020}")


def nice_step(limit):
    for step in (0.5, 1, 2, 5, 10, 20, 50, 100):
        if limit / step <= 10:
            return step
    return limit / 10


def draw(result):
    """The chart of one result (what bench/run.py writes as JSON), as text."""
    rows = result["rows"]
    ratios = [row.get("qemu_over_nandu") or 0 for row in rows]
    limit = max(2.0, max(ratios, default=1) * 1.05)
    step = nice_step(limit)
    scale = (WIDTH - LEFT - RIGHT) / limit
    groups = list(dict.fromkeys(row["group"] for row in rows))
    top = 78
    height = top + ROW * (len(rows) + len(groups)) + 64
    bottom = height - 54
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" role="img">',
           f"<style>{STYLE}</style>",
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           '<text class="h" x="20" y="30">Nandu against QEMU, riscv64 programs on x86-64</text>',
           '<text class="s" x="20" y="50">How many times faster than QEMU each program runs '
           '(QEMU\'s time / Nandu\'s time; longer is better)</text>']

    value = 0.0
    while value <= limit:
        x = LEFT + value * scale
        out.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" '
                   f'stroke="{"#999" if value == 1 else "#e4e4e4"}"/>')
        out.append(f'<text class="s" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
                   f'{value:g}×</text>')
        value += step
    if step != 1 and step != 0.5:       # where QEMU itself would be
        x = LEFT + scale
        out.append(f'<line x1="{x:.1f}" y1="{top - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#999"/>')

    y = top
    for group in groups:
        colour = COLOURS.get(group, OTHER)
        mean = result["means"].get(group, {}).get("qemu_over_nandu")
        for row in (r for r in rows if r["group"] == group):
            out += bar(row, y, scale, colour)
            y += ROW
        label = f"mean, {group}"
        out.append(f'<text class="n" x="{LEFT - 8}" y="{y + 13}" text-anchor="end">'
                   f'{escape(label)}</text>')
        if mean:
            out.append(f'<rect x="{LEFT}" y="{y + 1}" width="{mean * scale:.1f}" height="{BAR}" '
                       f'fill="{colour}"/>')
            out.append(f'<text class="n" x="{LEFT + mean * scale + 6:.1f}" y="{y + 13}">'
                       f'{mean:.2f}×</text>')
        y += ROW

    host = result["host"]
    foot = (f"{host['cpu']}, {host['cpus']} CPUs; {result.get('qemu') or 'QEMU'}; "
            f"median of {result['repetitions']} paired runs; {result['date'][:10]}")
    out.append(f'<text class="s" x="20" y="{height - 12}">{escape(foot)}</text>')
    out.append("</svg>\n")
    return "\n".join(out)


def bar(row, y, scale, colour):
    """One workload's bar, or why it has none."""
    out = [f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(row["name"])}</text>']
    ratio = row.get("qemu_over_nandu")
    if row["wrong"] or not ratio:
        text = row["wrong"].splitlines()[0] if row["wrong"] else "not measured"
        if len(text) > 80:
            text = text[:79] + "…"
        out.append(f'<text class="w" x="{LEFT + 6}" y="{y + 13}">{escape(text)}</text>')
        return out
    out.append(f'<rect x="{LEFT}" y="{y + 1}" width="{ratio * scale:.1f}" height="{BAR}" '
               f'fill="{colour}" fill-opacity="0.6"/>')
    out.append(f'<text x="{LEFT + ratio * scale + 6:.1f}" y="{y + 13}">{ratio:.2f}×</text>')
    return out
