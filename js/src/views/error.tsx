import { useSignal } from "@preact/signals";
import { brief, plural, visible, visibleLines } from "../format.ts";
import type { Detail, ErrorRecord, FrameRecord, JobRecord, LineRecord } from "../schema.gen.ts";
import { CopyButton } from "./copy.tsx";
import { reasonOf } from "./row.tsx";

const LINKS: Readonly<Record<ErrorRecord["link"], string>> = {
  "": "",
  cause: "caused by",
  context: "while handling",
  member: "one of its exceptions",
};

/** The exception, own frames with their source, library frames folded; then what led to it. */
export function ErrorTab({ job, detail }: { job: JobRecord; detail: Detail }) {
  const plain = useSignal(false);
  const { errors, traceback } = detail;
  return (
    <div class="ij-stack" data-testid="error">
      {errors.length === 0 && (
        <div class="ij-err">
          <b>{visible(job.error) || "failed"}</b> {reasonOf(job)}
        </div>
      )}
      {plain.value ? (
        <pre class="ij-text ij-traceback" data-testid="traceback">
          {visibleLines(traceback)}
        </pre>
      ) : (
        errors.map((error, i) => <OneError key={i} error={error} />)
      )}
      {traceback && (
        <div class="ij-line-head">
          <button type="button" class="ij-btn ij-small" data-testid="as-text" aria-pressed={plain.value} onClick={() => (plain.value = !plain.value)}>
            {plain.value ? "With source" : "As text"}
          </button>
          <CopyButton text={traceback} label="Copy traceback" />
        </div>
      )}
    </div>
  );
}

function OneError({ error }: { error: ErrorRecord }) {
  return (
    <section class="ij-one-error">
      {error.link && <h4 class="ij-chain">{LINKS[error.link]}</h4>}
      <div class="ij-err" data-testid="exception">
        <b>{brief(error.type)}</b> <span>{visibleLines(error.message)}</span>
        {error.notes.map((note, i) => (
          <div key={i} class="ij-err-note">
            {visibleLines(note)}
          </div>
        ))}
      </div>
      {runs(error.frames).map((run, i) => (run.own ? run.frames.map((frame, j) => <Frame key={`${i}.${j}`} frame={frame} />) : <Folded key={i} frames={run.frames} />))}
    </section>
  );
}

interface Run {
  readonly own: boolean;
  readonly frames: readonly FrameRecord[];
}

/** Neighbouring frames of the same kind together. */
function runs(frames: readonly FrameRecord[]): readonly Run[] {
  const list: { own: boolean; frames: FrameRecord[] }[] = [];
  for (const frame of frames) {
    const last = list.at(-1);
    if (last && last.own === frame.own) last.frames.push(frame);
    else list.push({ own: frame.own, frames: [frame] });
  }
  return list;
}

function Folded({ frames }: { frames: readonly FrameRecord[] }) {
  const open = useSignal(false);
  return (
    <div class="ij-fold">
      <button type="button" class="ij-link" data-testid="library-frames" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
        {open.value ? "▾" : "▸"} {plural(frames.length, "library frame")}
      </button>
      {open.value && frames.map((frame, i) => <Frame key={i} frame={frame} />)}
    </div>
  );
}

function Frame({ frame }: { frame: FrameRecord }) {
  return (
    <div class="ij-frame">
      <header>
        <b title={visible(frame.file)}>{brief(shortened(frame.file))}</b>
        <span>
          line {frame.line}, in {brief(frame.function)}
        </span>
      </header>
      {frame.lines.length > 0 && (
        <pre class="ij-source" tabIndex={0} aria-label={`Source, line ${frame.line}`}>
          {frame.lines.map((line) => (
            <SourceLine key={line.number} line={line} frame={frame} />
          ))}
        </pre>
      )}
    </div>
  );
}

/** The end of a path tells more than its beginning. */
function shortened(file: string): string {
  const parts = file.split("/");
  return parts.length > 3 ? `…/${parts.slice(-2).join("/")}` : file;
}

function SourceLine({ line, frame }: { line: LineRecord; frame: FrameRecord }) {
  const hit = line.number === frame.line;
  return (
    <div class={hit ? "ij-hit" : ""} aria-current={hit ? "true" : undefined}>
      <span class="ij-ln" aria-hidden="true">
        {line.number}
      </span>
      {hit && frame.column !== null ? <Marked text={line.text} from={frame.column} to={frame.end_column} /> : visible(line.text) || " "}
    </div>
  );
}

/** Columns count characters, as Python does, not code units. */
function Marked({ text, from, to }: { text: string; from: number; to: number | null }) {
  const chars = [...text];
  const end = to !== null && to > from ? to : chars.length;
  const piece = (a: number, b: number) => visible(chars.slice(a, b).join(""));
  return (
    <>
      {piece(0, from)}
      <span class="ij-at">{piece(from, end)}</span>
      {piece(end, chars.length)}
    </>
  );
}
