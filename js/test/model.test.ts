import { describe, expect, test } from "vitest";
import { Board, leftSeconds, lookOf, runSeconds } from "../src/model.ts";
import { hold, rowsWithin, settled, sortJobs } from "../src/order.ts";
import type { JobRecord, Patch, Snapshot } from "../src/schema.gen.ts";
import { readMessage } from "../src/wire.ts";
import { engine, job } from "./jobs.ts";

const snapshot = (seq: number, jobs: JobRecord[], epoch = "e"): Snapshot => ({ type: "snapshot", epoch, seq, now: 0, engine, jobs });
const patch = (seq: number, jobs: JobRecord[], removed: string[] = [], epoch = "e"): Patch => ({ type: "patch", epoch, seq, now: 0, engine: null, jobs, removed });

function board(...jobs: JobRecord[]): Board {
  const made = new Board();
  made.apply(snapshot(5, jobs));
  return made;
}

describe("the board", () => {
  test("takes a snapshot, then patches in turn", () => {
    const made = board(job({ id: "1" }), job({ id: "2" }));

    expect(made.apply(patch(6, [job({ id: "2", status: "running" }), job({ id: "3" })]))).toBe("applied");

    expect(made.order).toEqual(["1", "2", "3"]);
    expect(made.counts).toEqual({ running: 1, waiting: 2, done: 0, failed: 0, cancelled: 0 });
    expect(made.engine).toBe(engine);
  });

  test("notices a gap and changes nothing", () => {
    const made = board(job({ id: "1" }));

    expect(made.apply(patch(7, [job({ id: "2" })]))).toBe("gap");

    expect(made.order).toEqual(["1"]);
    expect(made.seq).toBe(5);
  });

  test("ignores what it has", () => {
    const made = board(job({ id: "1", status: "done" }));

    expect(made.apply(patch(5, [job({ id: "1", status: "running" })]))).toBe("ignored");

    expect(made.jobs.get("1")?.status).toBe("done");
  });

  test("another epoch is a gap, and its snapshot voids the rest", () => {
    const made = board(job({ id: "1" }));

    expect(made.apply(patch(6, [], [], "f"))).toBe("gap");
    expect(made.apply(snapshot(0, [job({ id: "9", status: "failed" })], "f"))).toBe("applied");

    expect(made.order).toEqual(["9"]);
    expect(made.counts.failed).toBe(1);
    expect(made.counts.waiting).toBe(0);
  });

  test("a beat tells of a lost patch", () => {
    const made = board();

    expect(made.apply({ type: "beat", epoch: "e", seq: 5, now: 0 })).toBe("ignored");
    expect(made.apply({ type: "beat", epoch: "e", seq: 6, now: 0 })).toBe("gap");
    expect(made.apply({ type: "beat", epoch: "f", seq: 5, now: 0 })).toBe("gap");
  });

  test("a patch before the first snapshot is a gap", () => expect(new Board().apply(patch(1, []))).toBe("gap"));

  test("removed jobs go, unknown ones don't matter", () => {
    const made = board(job({ id: "1", status: "done" }), job({ id: "2" }));

    made.apply(patch(6, [], ["1", "nobody"]));

    expect(made.order).toEqual(["2"]);
    expect(made.counts.done).toBe(0);
  });

  test("the order is the same array until a job comes or goes", () => {
    const made = board(job({ id: "2" }), job({ id: "1" }));
    const { order } = made;

    made.apply(patch(6, [job({ id: "1", status: "running" })]));
    expect(made.order).toBe(order);
    made.apply(patch(7, [job({ id: "3" })]));
    expect(made.order).toEqual(["1", "2", "3"]);
  });

  test("an id named like a property of objects is only an id", () => {
    const made = board(job({ id: "__proto__" }), job({ id: "constructor" }));

    expect(made.jobs.size).toBe(2);
  });

  test("any order of lost and repeated patches ends as the kernel has it, once a gap is answered", () => {
    let random = 7;
    const next = (n: number): number => (random = (random * 16807) % 2147483647) % n;
    const truth = new Map<string, JobRecord>();
    const made = board();
    let seq = 5;
    for (let i = 0; i < 500; i += 1) {
      const id = String(next(40));
      const gone = next(5) === 0 && truth.delete(id);
      const status = (["pending", "running", "done", "failed", "cancelled"] as const)[next(5)] ?? "done";
      if (!gone) truth.set(id, job({ id, status }));
      seq += 1;
      const changed = truth.get(id);
      const message = patch(seq, changed ? [changed] : [], gone ? [id] : []);
      for (let sent = next(3); sent > 0; sent -= 1) {
        if (made.apply(message) === "gap") made.apply(snapshot(seq, [...truth.values()]));
      }
    }
    made.apply(snapshot(seq, [...truth.values()]));

    expect(new Map(made.jobs)).toEqual(truth);
    expect(Object.values(made.counts).reduce((sum, n) => sum + n, 0)).toBe(truth.size);
  });
});

describe("looks and times", () => {
  test("a job being stopped looks so, asked by us or by others, until it has ended", () => {
    expect(lookOf(job({ id: "1", status: "running" }))).toBe("running");
    expect(lookOf(job({ id: "1", status: "running" }), true)).toBe("stopping");
    expect(lookOf(job({ id: "1", status: "pending", cancel_requested: true }))).toBe("stopping");
    expect(lookOf(job({ id: "1", status: "done", cancel_requested: true }), true)).toBe("done");
    expect(lookOf(job({ id: "1", status: "created" }))).toBe("waiting");
  });

  test("run time grows until the end and is not negative", () => {
    expect(runSeconds(job({ id: "1", status: "running", started_at: 10 }), 14)).toBe(4);
    expect(runSeconds(job({ id: "1", status: "done", started_at: 10, ended_at: 12 }), 99)).toBe(2);
    expect(runSeconds(job({ id: "1", status: "running", started_at: 10 }), 9)).toBe(0);
    expect(runSeconds(job({ id: "1" }), 9)).toBeNull();
    expect(runSeconds(job({ id: "1", status: "pending", started_at: 10, ended_at: 12 }), 99)).toBeNull();
  });

  test("what is left is what the job said, less the time since", () => {
    const running = job({ id: "1", status: "running", started_at: 0, progress: 0.5, progress_at: 10, left_s: 30 });

    expect(leftSeconds(running, 14)).toBe(26);
    expect(leftSeconds({ ...running, left_s: null }, 14)).toBe(6);
    expect(leftSeconds({ ...running, left_s: null, progress: 0 }, 14)).toBeNull();
    expect(leftSeconds({ ...running, status: "done" }, 14)).toBeNull();
  });
});

describe("rows", () => {
  const jobs = [
    job({ id: "1", name: "b", status: "done", started_at: 0, ended_at: 5 }),
    job({ id: "2", name: "a10", status: "failed", started_at: 0, ended_at: 9 }),
    job({ id: "3", name: "a9", status: "pending" }),
    job({ id: "4", name: "b", status: "running", started_at: 0 }),
  ];

  test.each([
    ["number", false, "1234"],
    ["name", false, "3214"],
    ["name", true, "1423"],
    ["status", false, "2431"],
    ["time", true, "4213"],
    ["time", false, "1243"],
    ["memory", false, "1234"],
  ] as const)("sorted by %s, descending %s: %s", (column, descending, ids) => {
    expect(sortJobs(jobs, { column, descending }, 20).join("")).toBe(ids);
  });

  test("those shown keep their places while held, new ones come last", () => {
    expect(hold(["c", "a", "b"], ["a", "b", "c", "d"], () => true)).toEqual(["c", "a", "b", "d"]);
    expect(hold(["c", "a"], ["a"], (id) => id !== "c")).toEqual(["a"]);
  });

  test("the same rows are the same array", () => {
    const before = ["a", "b"];

    expect(settled(before, ["a", "b"])).toBe(before);
    expect(settled(before, ["b", "a"])).toEqual(["b", "a"]);
  });

  test.each([
    [0, 280, 10_000, [0, 12]],
    [2800, 280, 10_000, [98, 112]],
    [0, 280, 3, [0, 3]],
    [9999, 280, 3, [3, 3]],
    [0, 0, 0, [0, 0]],
  ])("at %d of %d pixels with %d rows those drawn are %j", (top, height, count, rows) => {
    expect(rowsWithin(top, height, 28, count, 2)).toEqual(rows);
  });
});

describe("the wire", () => {
  test.each([null, 1, "x", [], {}, { type: "nobody" }, { type: "__proto__" }, { type: "patch" }, { type: "snapshot", epoch: 1 }, { ...patch(1, []), jobs: [null] }])(
    "%j is none of our messages",
    (content) => expect(readMessage(content)).toBeNull(),
  );

  test("ours pass", () => {
    expect(readMessage(patch(1, [job({ id: "1" })]))).not.toBeNull();
    expect(readMessage(snapshot(1, []))).not.toBeNull();
  });
});
