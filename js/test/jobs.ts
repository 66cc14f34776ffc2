import type { EngineRecord, JobRecord } from "../src/schema.gen.ts";

export function job(changes: Partial<JobRecord> & { readonly id: string }): JobRecord {
  return {
    number: Number(changes.id) || 1,
    name: "train",
    status: "pending",
    reason: null,
    waiting_for: null,
    waiting: "",
    cancel_requested: false,
    backend: "process",
    group: null,
    tags: [],
    queue: "default",
    priority: 0,
    arguments: "",
    attempt: 0,
    retries: 0,
    submitted_at: null,
    started_at: null,
    ended_at: null,
    retry_at: null,
    progress: null,
    progress_at: null,
    left_s: null,
    message: "",
    error: "",
    result: "",
    origin: "",
    log_bytes: 0,
    memory_bytes: null,
    note: "",
    next_at: null,
    address: "",
    ready: false,
    ...changes,
  };
}

export const engine: EngineRecord = {
  slots: [{ name: "", limit: 8, used: 2 }],
  memory_used_bytes: 1,
  memory_total_bytes: 2,
  busy_since: null,
  busy_with: "",
  comm_subshell: true,
  running: true,
};
