import { parseLine, PLAIN, styleAfter } from "../ansi.ts";
import type { Span, Style } from "../ansi.ts";
import { whole } from "../format.ts";
import { still } from "./still.tsx";

/** Lines drawn together: when a log grows, only its last block is drawn again. */
const BLOCK = 50;

/** Part of a log as styled lines. */
export const LogPiece = still<{ text: string; query: string; target: boolean }>(({ text, query, target }) => {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const blocks: { text: string; start: Style }[] = [];
  let style = PLAIN;
  for (let i = 0; i < lines.length; i += BLOCK) {
    const part = lines.slice(i, i + BLOCK);
    blocks.push({ text: part.join("\n"), start: style });
    for (const line of part) style = styleAfter(line, style);
  }
  return blocks.map((block, i) => <Block key={i} text={block.text} start={block.start} query={query.toLowerCase()} target={target && i === 0} />);
});

const Block = still<{ text: string; start: Style; query: string; target: boolean }>(({ text, start, query, target }) => {
  let style = start;
  return (
    <div class="ij-lines">
      {text.split("\n").map((raw, i) => {
        const { spans, end, cut } = parseLine(raw, style);
        style = end;
        return (
          <div key={i} class={target && i === 0 ? "ij-target" : ""}>
            {query ? marked(spans, query) : spans.map(drawn)}
            {cut > 0 && <em class="ij-cut-line"> … {whole(cut)} more characters</em>}
            {"\n"}
          </div>
        );
      })}
    </div>
  );
});

function drawn({ text, style }: Span, key: number | string) {
  if (style === PLAIN) return text;
  const { fg, bg } = style.inverse ? { fg: style.bg ?? "var(--ij-bg)", bg: style.fg ?? "var(--ij-fg)" } : style;
  const css: Record<string, string> = {};
  if (fg !== undefined) css["color"] = typeof fg === "number" ? `var(--ij-ansi-${fg})` : fg;
  if (bg !== undefined) css["backgroundColor"] = typeof bg === "number" ? `var(--ij-ansi-${bg})` : bg;
  if (style.bold) css["fontWeight"] = "600";
  if (style.italic) css["fontStyle"] = "italic";
  if (style.dim) css["opacity"] = ".7";
  if (style.underline || style.strike) css["textDecoration"] = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
  return (
    <span key={key} style={css}>
      {text}
    </span>
  );
}

/** The spans with every place where `query` (in lower case) stands marked, also across spans. */
function marked(spans: readonly Span[], query: string) {
  const lower = spans.map((span) => span.text).join("").toLowerCase();
  const starts: number[] = [];
  for (let at = lower.indexOf(query); at >= 0; at = lower.indexOf(query, at + query.length)) starts.push(at);
  if (!starts.length) return spans.map(drawn);
  const pieces = [];
  let offset = 0;
  for (const { text, style } of spans) {
    let from = 0;
    for (const start of starts) {
      const a = Math.max(from, start - offset);
      const b = Math.min(text.length, start + query.length - offset);
      if (b <= a) continue;
      if (a > from) pieces.push(drawn({ text: text.slice(from, a), style }, `${offset}.${from}`));
      pieces.push(<mark key={`${offset}.${a}m`}>{drawn({ text: text.slice(a, b), style }, 0)}</mark>);
      from = b;
    }
    if (from < text.length) pieces.push(drawn({ text: text.slice(from), style }, `${offset}.${from}e`));
    offset += text.length;
  }
  return pieces;
}
