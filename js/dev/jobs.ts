/** Made-up jobs. */

import type { JobRecord, Status } from "../src/schema.gen.ts";

const began = Date.now() / 1000;

const HOSTILE = [
  "<script>window.__pwn=1</script>",
  '"><img src=x onerror="window.__pwn=2">',
  "null\u0000byte",
  "abc\u202etxt.exe",
  "\u200b\u200c\u200d\ufeff",
  " ",
  "\x1b[31mred\x1b[0m",
  "👩\u200d💻".repeat(60),
  "x".repeat(10_000),
  "line\u2028sep\nnext",
  "__proto__",
  "Ünïcödé שלום مرحبا 名前",
];

function plain(number: number): JobRecord {
  return {
    id: `job${number}`,
    number,
    name: "train",
    status: "done",
    reason: null,
    waiting_for: null,
    waiting: "",
    cancel_requested: false,
    backend: "process",
    group: "sweep",
    tags: [],
    queue: "default",
    priority: 0,
    arguments: `lr=${[0.1, 0.03, 0.01, 0.3, 1][number % 5]} seed=${number % 4}`,
    attempt: 1,
    retries: 0,
    submitted_at: began - 300,
    started_at: began - 200,
    ended_at: began - 128 + (number % 40),
    retry_at: null,
    progress: null,
    progress_at: null,
    left_s: null,
    message: "",
    error: "",
    result: `0.${8000 + ((number * 37) % 1999)}`,
    origin: "In[3]",
    log_bytes: 4_200,
    memory_bytes: null,
    note: "",
    next_at: null,
    address: "",
    ready: false,
  };
}

const waiting = { started_at: null, ended_at: null, attempt: 0, result: "", log_bytes: 0, status: "pending" as const };

/** Twelve jobs as on the picture to aim at. */
function shown(number: number): JobRecord {
  const job = plain(number);
  const running = { ...job, status: "running" as const, ended_at: null, result: "", memory_bytes: 0.9 * 2 ** 30, progress_at: began, started_at: began - 91 };
  switch (number) {
    case 1:
      return { ...job, status: "failed", result: "", attempt: 3, retries: 2, progress: 0.34, error: "ValueError: NaN in loss after 33 steps", ended_at: began - 76, arguments: "lr=0.1 seed=0" };
    case 2:
      return { ...running, progress: 0.71, left_s: 40, message: "71/100", arguments: "lr=0.03 seed=1", log_bytes: 2 ** 30 };
    case 3:
      return { ...running, progress: 0.64, left_s: 52, arguments: "lr=0.03 seed=2" };
    case 4:
      return { ...running, progress: 0.22, left_s: 170, arguments: "lr=0.01 seed=0", started_at: began - 54 };
    case 5:
      return { ...running, progress: 0.18, cancel_requested: true, arguments: "lr=0.01 seed=1", started_at: began - 53, note: "thread still running" };
    case 6:
      return { ...job, arguments: "lr=0.3 seed=3", result: "(<Figure 640x480>, array(5,))" };
    case 7:
      return { ...job, status: "cancelled", reason: "user", result: "", ended_at: began - 197, arguments: "lr=1.0 seed=0" };
    case 8:
      return { ...running, name: "streamlit", group: null, arguments: "app.py", message: "", address: "http://127.0.0.1:8502", ready: false, progress_at: null, started_at: began - 740, origin: "In[8]", memory_bytes: 0.2 * 2 ** 30 };
    case 9:
      return { ...running, name: "make data", group: null, arguments: "", note: "", message: "compiling features.parquet", progress_at: null, started_at: began - 3725, origin: "In[9]", memory_bytes: 0.1 * 2 ** 30 };
    case 10:
      return { ...job, ...waiting, name: "clean", group: null, arguments: "best of 12", waiting_for: "condition", waiting: "after 12 jobs, 9 done", origin: "In[5]" };
    case 11:
      return { ...job, ...waiting, name: "report", group: null, arguments: "", waiting_for: "condition", waiting: "next Mon 09:00", origin: "In[11]" };
    default:
      return { ...job, ...waiting, name: "upload", group: "nightly", arguments: "bucket='results'", attempt: 1, retries: 3, waiting_for: "retry", waiting: "attempt 2 soon", retry_at: began + 75, origin: "In[12]" };
  }
}

export function makeJob(number: number, of: number, hostile: boolean): JobRecord {
  const job = number <= 12 ? shown(number) : many(number, of);
  const name = HOSTILE[(number - 1) % HOSTILE.length] ?? job.name;
  return hostile ? { ...job, name, arguments: `tag=${name.slice(0, 40)}`, group: name.slice(0, 30) } : job;
}

function many(number: number, of: number): JobRecord {
  const job = plain(number);
  const lot = (number * 7919) % 100;
  if (number > of * 0.93) return { ...job, ...waiting, waiting_for: "slot", waiting: "for a slot" };
  if (number > of * 0.9) return { ...job, status: "running", ended_at: null, result: "", started_at: began - (number % 70), progress: (number % 89) / 100, progress_at: began, memory_bytes: (0.3 + (number % 7) / 10) * 2 ** 30 };
  if (lot < 3) return { ...job, status: "failed", result: "", error: "TimeoutError: no answer from the service after 30 s" };
  if (lot === 3) return { ...job, status: "cancelled", reason: "upstream", result: "" };
  return job;
}

export function move(job: JobRecord, how: "cancel" | "rerun" | "step"): JobRecord {
  const now = Date.now() / 1000;
  if (how === "cancel") return job.status === "running" ? { ...job, cancel_requested: true } : { ...job, status: "cancelled", reason: "user", waiting: "", waiting_for: null };
  if (how === "rerun") return { ...job, ...waiting, status: "pending", reason: null, error: "", cancel_requested: false, waiting_for: "slot", waiting: "for a slot" };
  if (job.status !== "running") return { ...job, priority: job.priority ? 0 : 1 };
  if (job.progress === null || job.cancel_requested) return job;
  const progress = job.progress + 0.002;
  if (progress < 1) return { ...job, progress, progress_at: now, left_s: Math.max(1, (1 - progress) * 140) };
  const status: Status = "done";
  return { ...job, status, progress: null, ended_at: now, result: "0.93", memory_bytes: null };
}
