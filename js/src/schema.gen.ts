// Printed from ipyjobs/schema.py by `python -m ipyjobs.schema`; change that file, not this one.

export type Status = "created" | "pending" | "running" | "done" | "failed" | "cancelled";

export type Reason = "user" | "upstream" | "timeout" | "lost" | "shutdown" | "veto";

export type WaitingFor = "condition" | "slot" | "retry" | "backend";

/** One row: a job as the page sees it. */
export interface JobRecord {
  readonly id: string;
  readonly number: number;
  readonly name: string;
  readonly status: Status;
  readonly reason: Reason | null;
  readonly waiting_for: WaitingFor | null;
  readonly waiting: string;
  readonly cancel_requested: boolean;
  readonly backend: string;
  readonly group: string | null;
  readonly tags: readonly string[];
  readonly queue: string;
  readonly priority: number;
  readonly arguments: string;
  readonly attempt: number;
  readonly retries: number;
  readonly submitted_at: number | null;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly retry_at: number | null;
  readonly progress: number | null;
  readonly progress_at: number | null;
  readonly left_s: number | null;
  readonly message: string;
  readonly error: string;
  readonly result: string;
  readonly origin: string;
  readonly log_bytes: number;
  readonly memory_bytes: number | null;
  readonly note: string;
  readonly next_at: number | null;
  readonly address: string;
  readonly ready: boolean;
}

/** How many jobs may run at once, and how many do. `name` is a backend's, or "" for all together. */
export interface SlotRecord {
  readonly name: string;
  readonly limit: number | null;
  readonly used: number;
}

/** The engine as the page sees it. */
export interface EngineRecord {
  readonly slots: readonly SlotRecord[];
  readonly memory_used_bytes: number;
  readonly memory_total_bytes: number;
  readonly busy_since: number | null;
  readonly busy_with: string;
  readonly comm_subshell: boolean;
  readonly running: boolean;
  readonly dask_dashboard: string;
}

/** One line of source. */
export interface LineRecord {
  readonly number: number;
  readonly text: string;
}

/** One level of a traceback. */
export interface FrameRecord {
  readonly file: string;
  readonly line: number;
  readonly function: string;
  readonly own: boolean;
  readonly lines: readonly LineRecord[];
  readonly column: number | null;
  readonly end_column: number | null;
}

/** One exception of a chain. */
export interface ErrorRecord {
  readonly type: string;
  readonly message: string;
  readonly notes: readonly string[];
  readonly frames: readonly FrameRecord[];
  readonly link: "" | "cause" | "context" | "member";
}

/** One try at a job. */
export interface AttemptRecord {
  readonly number: number;
  readonly round: number;
  readonly queued_at: number;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly outcome: "" | "done" | "failed" | "cancelled" | "timeout" | "released" | "lost";
  readonly error: string;
  readonly worker: string;
}

/** One argument of the call. */
export interface ArgumentRecord {
  readonly name: string;
  readonly type: string;
  readonly text: string;
}

/** Another job that this one depends on. */
export interface LinkRecord {
  readonly id: string;
  readonly name: string;
  readonly status: Status | null;
  readonly via: "value" | "order";
}

/** All there is; the answer to `Hello`. What the page had before is void. */
export interface Snapshot {
  readonly type: "snapshot";
  readonly epoch: string;
  readonly seq: number;
  readonly now: number;
  readonly engine: EngineRecord;
  readonly jobs: readonly JobRecord[];
}

/** What has changed since `seq - 1`: whole records. On a gap the page says hello again. */
export interface Patch {
  readonly type: "patch";
  readonly epoch: string;
  readonly seq: number;
  readonly now: number;
  readonly engine: EngineRecord | null;
  readonly jobs: readonly JobRecord[];
  readonly removed: readonly string[];
}

/** Sign of life, every two seconds. `seq` is that of the last patch. */
export interface Beat {
  readonly type: "beat";
  readonly epoch: string;
  readonly seq: number;
  readonly now: number;
}

/** All about one job; the answer to `Inspect`. */
export interface Detail {
  readonly type: "detail";
  readonly id: string;
  readonly found: boolean;
  readonly errors: readonly ErrorRecord[];
  readonly traceback: string;
  readonly arguments: readonly ArgumentRecord[];
  readonly attempts: readonly AttemptRecord[];
  readonly upstream: readonly LinkRecord[];
  readonly result: string;
  readonly result_type: string;
}

/** A range of a job's log; the answer to `ReadLog`. */
export interface LogPart {
  readonly type: "log";
  readonly id: string;
  readonly start: number;
  readonly stop: number;
  readonly size: number;
  readonly dropped_from: number;
  readonly dropped_to: number;
  readonly text: string;
}

/** Where a text occurs in a job's log; the answer to `SearchLog`. */
export interface LogMatches {
  readonly type: "matches";
  readonly id: string;
  readonly query: string;
  readonly offsets: readonly number[];
  readonly total: number;
}

/** What became of a command that changes something. */
export interface Answer {
  readonly type: "answer";
  readonly request: number;
  readonly ok: boolean;
  readonly text: string;
}

/** The page asks for a snapshot and, from then on, patches. */
export interface Hello {
  readonly type: "hello";
}

/** The page is closing and wants no more. */
export interface Bye {
  readonly type: "bye";
}

/** Cancel these jobs. */
export interface Cancel {
  readonly type: "cancel";
  readonly request: number;
  readonly ids: readonly string[];
}

/** Run these ended jobs again. */
export interface Rerun {
  readonly type: "rerun";
  readonly request: number;
  readonly ids: readonly string[];
}

/** Set how many jobs may run at once: of a backend, or "" for all. */
export interface Limit {
  readonly type: "limit";
  readonly request: number;
  readonly name: string;
  readonly limit: number;
}

/** The page wants `Detail`. */
export interface Inspect {
  readonly type: "inspect";
  readonly id: string;
}

/** The page wants `LogPart`; a negative `start` counts from the end. */
export interface ReadLog {
  readonly type: "read_log";
  readonly id: string;
  readonly start: number;
  readonly stop: number | null;
}

/** The page wants `LogMatches`; upper and lower case count as one. */
export interface SearchLog {
  readonly type: "search_log";
  readonly id: string;
  readonly query: string;
}

export type MessageOut = Snapshot | Patch | Beat | Detail | LogPart | LogMatches | Answer;

export type MessageIn = Hello | Bye | Cancel | Rerun | Limit | Inspect | ReadLog | SearchLog;
