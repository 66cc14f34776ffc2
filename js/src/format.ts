/** How numbers, times and foreign text are put into words. Pure. */

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");

/** A length of time in at most two units: "0.4 s", "53 s", "2m 04s", "1h 02m", "3d 04h". */
export function duration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s < 0.05 ? "0" : s.toFixed(1)} s`;
  if (s < MINUTE) return `${Math.floor(s)} s`;
  if (s < HOUR) return `${Math.floor(s / MINUTE)}m ${two(s % MINUTE)}s`;
  if (s < DAY) return `${Math.floor(s / HOUR)}h ${two((s % HOUR) / MINUTE)}m`;
  return `${Math.floor(s / DAY)}d ${two((s % DAY) / HOUR)}h`;
}

/** A length of time that is still growing, in whole seconds, so that its width does not flicker. */
export function elapsed(seconds: number): string {
  return seconds < MINUTE ? `${Math.floor(Math.max(0, seconds))} s` : duration(seconds);
}

/** A moment to come and how far it is, on the reader's clock: "12:00:05 · 4 s", "12:00 · 2h 04m", "2026-11-27 12:00 · 1d 04h". */
export function upcoming(at: number, now: number): string {
  const left = Math.ceil(at - now);
  const day = new Date(at * 1000);
  const time = `${two(day.getHours())}:${two(day.getMinutes())}`;
  const date = `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
  const when = left < HOUR ? `${time}:${two(day.getSeconds())}` : left < DAY ? time : `${date} ${time}`;
  return left > 0 ? `${when} · ${elapsed(left)}` : `${when} · now`;
}

/** A stopwatch: "0:42", "1:02:03". */
export function stopwatch(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const rest = `${two(s % MINUTE)}`;
  return s < HOUR ? `${Math.floor(s / MINUTE)}:${rest}` : `${Math.floor(s / HOUR)}:${two((s % HOUR) / MINUTE)}:${rest}`;
}

/** A guess of what is left, rounded as guesses should be: "~40 s", "~3 min", "~2 h". */
export function remaining(seconds: number): string {
  if (seconds < 1) return "~1 s";
  if (seconds < 10) return `~${Math.ceil(seconds)} s`;
  if (seconds < 95) return `~${Math.ceil(seconds / 5) * 5} s`;
  if (seconds < 90 * MINUTE) return `~${Math.round(seconds / MINUTE)} min`;
  if (seconds < 36 * HOUR) return `~${Math.round(seconds / HOUR)} h`;
  return `~${Math.round(seconds / DAY)} d`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** A size, in steps of 1024: "312 B", "4.2 MB", "16 GB". */
export function bytes(size: number): string {
  let value = Math.max(0, size);
  let unit = 0;
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const figure = unit === 0 || value >= 9.95 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
  return `${figure} ${UNITS[unit] ?? "B"}`;
}

/** How much of how much, the unit said once where it is the same: "5.4 of 16 GB". */
export function share(used: number, total: number): string {
  const [a = "", unitA = ""] = bytes(used).split(" ");
  const [b = "", unitB = ""] = bytes(total).split(" ");
  return unitA === unitB ? `${a} of ${b} ${unitB}` : `${a} ${unitA} of ${b} ${unitB}`;
}

/** A whole number with thousands set apart: "10,000". */
export function whole(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function percent(part: number): string {
  return `${Math.floor(Math.min(1, Math.max(0, part)) * 100)} %`;
}

/** "1 job", "12 jobs". */
export function plural(n: number, one: string): string {
  return `${whole(n)} ${one}${n === 1 ? "" : "s"}`;
}

// What cannot be seen or changes the direction of what follows. Zero-width joiners have honest uses; see `joins`.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/gu;
// Anchored at the start: Chromium 156 finds no astral character with such a class before a `$`.
const PICTURE = /^[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f]/u;
const LETTER_BEFORE = /^[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Sinhala}\p{M}]/u;

/** Whether a zero-width joiner after `before` belongs to the writing: an emoji, or a script that needs it. */
function joins(char: string, before: string, after: string): boolean {
  if (after === "") return false;
  if (char === "\u200d" && PICTURE.test(before)) return /^\p{Extended_Pictographic}/u.test(after);
  return (char === "\u200c" || char === "\u200d") && LETTER_BEFORE.test(before);
}

/** One character that cannot be seen, spelt out: control characters by picture, others by number. */
export function spelt(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
}

/** Foreign text for one line: what is invisible or turns the direction of writing is spelt out. */
export function visible(text: string): string {
  return text.replace(HIDDEN, (char: string, at: number) =>
    joins(char, [...text.slice(Math.max(0, at - 2), at)].at(-1) ?? "", text.slice(at + 1, at + 3)) ? char : spelt(char),
  );
}

/** Foreign text of several lines: as `visible`, but line ends and tabs stay. */
export function visibleLines(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .split("\n")
    .map((line) => line.split("\t").map(visible).join("\t"))
    .join("\n");
}

const SEGMENTS = typeof Intl !== "undefined" && "Segmenter" in Intl ? new Intl.Segmenter() : null;

/** At most `limit` characters as a reader counts them; what is cut shows as "…". */
export function clip(text: string, limit: number): string {
  if (text.length <= limit) return text;
  // A character that a reader sees takes a handful of code units at most in honest text; 32 bounds hostile text.
  const head = text.slice(0, limit * 32);
  const parts: string[] = [];
  const all = SEGMENTS ? SEGMENTS.segment(head) : [...head].map((segment) => ({ segment }));
  for (const { segment } of all) {
    if (parts.length === limit) return `${parts.join("")}…`;
    parts.push(segment);
  }
  return head.length < text.length ? `${parts.join("")}…` : text;
}

/** A name as shown: on one line, nothing hidden, never empty. */
export function nameOf(text: string): string {
  return /^\s*$/u.test(text) ? "(unnamed)" : clip(visible(text.length > 4000 ? text.slice(0, 4000) : text), 240);
}

/** One line of foreign text for a table cell. */
export function brief(text: string, limit = 240): string {
  return clip(visible(text.length > limit * 16 ? text.slice(0, limit * 16) : text), limit);
}
