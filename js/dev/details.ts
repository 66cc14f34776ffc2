/** Made-up details. */

import type { AttemptRecord, Detail, ErrorRecord, FrameRecord, JobRecord } from "../src/schema.gen.ts";

const library = (file: string, line: number, name: string): FrameRecord => ({
  file,
  line,
  function: name,
  own: false,
  lines: [{ number: line, text: "    return self.call(*args, **kwargs)" }],
  column: null,
  end_column: null,
});

const ERROR: ErrorRecord = {
  type: "ValueError",
  message: "NaN in loss after 33 steps",
  notes: ["last finite loss was 0.7315 in step 32"],
  link: "",
  frames: [
    {
      file: "In[2]",
      line: 7,
      function: "train",
      own: true,
      lines: [
        { number: 5, text: "    for i in tqdm(range(100)):" },
        { number: 6, text: "        loss = step(x, lr)" },
        { number: 7, text: "        check(loss, n=i)" },
        { number: 8, text: "        history.append(loss)" },
      ],
      column: 8,
      end_column: 24,
    },
    library("/usr/lib/python3/dist-packages/numlib/core.py", 411, "apply"),
    library("/usr/lib/python3/dist-packages/numlib/core.py", 88, "call"),
    library("/usr/lib/python3/dist-packages/numlib/checks.py", 12, "wrapped"),
    {
      file: "In[2]",
      line: 2,
      function: "check",
      own: true,
      lines: [
        { number: 1, text: "def check(loss, n):" },
        { number: 2, text: '    if isnan(loss): raise ValueError(f"NaN in loss after {n} steps")' },
      ],
      column: 20,
      end_column: 68,
    },
  ],
};

const CAUSE: ErrorRecord = {
  type: "ZeroDivisionError",
  message: "division by zero",
  notes: [],
  link: "cause",
  frames: [{ ...ERROR.frames[0], file: "src/steps.py", line: 31, function: "step", own: true, lines: [{ number: 31, text: "    return gradient / norm" }], column: 11, end_column: 26 }],
};

function attemptsOf(job: JobRecord): AttemptRecord[] {
  const started = job.started_at;
  if (started === null && job.attempt === 0) return [];
  const list: AttemptRecord[] = [];
  for (let n = 1; n < job.attempt; n += 1)
    list.push({ number: n, round: 1, queued_at: 1000 - 20 * (4 - n), started_at: 1000, ended_at: 1110 + n * 3, outcome: "failed", error: "ValueError: NaN in loss", worker: `pid ${4710 + n}` });
  const outcome = job.status === "running" || job.status === "pending" || job.status === "created" ? "" : job.status;
  const queued_at = (started ?? Date.now() / 1000) - 6;
  list.push({ number: job.attempt, round: 1, queued_at, started_at: started, ended_at: job.ended_at, outcome, error: job.error, worker: started === null ? "" : "pid 4713" });
  return list;
}

export function detailOf(job: JobRecord): Detail {
  const failed = job.status === "failed";
  return {
    type: "detail",
    id: job.id,
    found: true,
    errors: failed ? [ERROR, CAUSE] : [],
    traceback: failed ? "Traceback (most recent call last):\n  In[2], line 7, in train\n    check(loss, n=i)\nValueError: NaN in loss after 33 steps" : "",
    arguments: [
      { name: "lr", type: "float", text: "0.1" },
      { name: "seed", type: "int", text: "0" },
      { name: "data", type: "DataFrame", text: "10,000 rows × 12 columns\nid, date, price, volume, open, close, high, low, …" },
    ],
    attempts: attemptsOf(job),
    upstream: job.name === "clean" ? [2, 3, 4].map((n) => ({ id: `job${n}`, name: "train", status: "running" as const, via: "value" as const })) : [],
    result: job.status === "done" ? "(<Figure size 640x480 with 1 Axes>, array([0.93, 0.92, 0.91, 0.90, 0.89]))" : "",
    result_type: job.status === "done" ? "tuple" : "",
  };
}
