/** Escapes text for an element or an attribute. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A table cell: text, or HTML made by this package. */
export type Cell = string | number | { readonly html: string };

const style = `
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6b7b; --line: #dfe5ec; --accent: #2867b2; --gone: #fde2e0; --new: #dff3e1 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif; color: var(--ink); margin: 0 auto;
  max-width: 1080px; padding: 24px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 19px; margin: 36px 0 10px } p { margin: 6px 0 }
.note { color: var(--soft) } code { font: 13px/1.4 ui-monospace, Consolas, monospace; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-size: 14px } .wide { overflow-x: auto }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { color: var(--soft); font-weight: 600; white-space: nowrap } .right { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
figure { margin: 8px 0 } figure svg { max-width: 100%; height: auto } audio { height: 32px; width: 220px; max-width: 100% }
del { background: var(--gone); text-decoration: line-through } ins { background: var(--new); text-decoration: none }
.narrow { display: none }
@media (max-width: 640px) { body { padding: 14px } .broad { display: none } .narrow { display: block } }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ee; --soft: #a3b1be; --line: #36414c; --accent: #7fb4f0; --gone: #6b2a26; --new: #1f5130 }
  body { background: #12181e }
  figure svg { filter: invert(1) hue-rotate(180deg) }
}
`;

export interface PageParts {
  readonly title: string;
  /** HTML. */
  readonly body: string;
  /** CSS behind that of every page. */
  readonly style?: string;
  /** What the page may load, as a Content-Security-Policy; default: nothing is said. */
  readonly policy?: string;
}

/** An HTML page without other files. */
export function page({ title, body, style: more = "", policy }: PageParts): string {
  const security =
    policy === undefined
      ? ""
      : `<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">\n`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
${security}<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${style}${more}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
</body>
</html>
`;
}

/** A table whose first row is its head. @param right  columns aligned to the right */
export function tableHtml(
  [head, ...rows]: readonly (readonly Cell[])[],
  right: readonly number[] = [],
): string {
  const line = (cells: readonly Cell[], tag: "th" | "td"): string =>
    `<tr>${cells
      .map((cell, i) => `<${tag}${right.includes(i) ? ' class="right"' : ""}>${cellHtml(cell)}</${tag}>`)
      .join("")}</tr>`;
  const body = rows.map((row) => line(row, "td")).join("\n");
  return `<div class="wide"><table>\n<thead>${line(head, "th")}</thead>\n<tbody>\n${body}\n</tbody>\n</table></div>`;
}

function cellHtml(cell: Cell): string {
  return typeof cell === "object" ? cell.html : escapeHtml(String(cell));
}
