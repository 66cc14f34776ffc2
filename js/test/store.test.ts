import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Desk } from "../src/desk.ts";
import type { Answer, JobRecord, MessageIn, MessageOut, Patch } from "../src/schema.gen.ts";
import { Store } from "../src/store.ts";
import { engine, job } from "./jobs.ts";

/** A kernel that answers only what the test says. */
class Kernel {
  readonly received: MessageIn[] = [];
  listeners = 0;
  say: (message: MessageOut) => void = () => undefined;
  end: (why: string) => void = () => undefined;
  #seq = 0;

  send(message: MessageIn): void {
    this.received.push(message);
  }

  listen(message: (message: MessageOut) => void, gone: (why: string) => void): () => void {
    this.say = message;
    this.end = gone;
    this.listeners += 1;
    return () => (this.listeners -= 1);
  }

  get types(): string[] {
    return this.received.map((each) => each.type);
  }

  snapshot(...jobs: JobRecord[]): void {
    this.say({ type: "snapshot", epoch: "e", seq: this.#seq, now: Date.now() / 1000, engine, jobs });
  }

  patch(...jobs: JobRecord[]): Patch {
    this.#seq += 1;
    const patch: Patch = { type: "patch", epoch: "e", seq: this.#seq, now: Date.now() / 1000, engine: null, jobs, removed: [] };
    this.say(patch);
    return patch;
  }

  lose(): void {
    this.#seq += 1;
  }

  answer(changes: Partial<Answer>): void {
    const last = this.received.findLast((each) => "request" in each);
    const request = last && "request" in last ? last.request : 0;
    this.say({ type: "answer", request, ok: true, text: "1 cancelled", ...changes });
  }
}

let kernel: Kernel;
let store: Store;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("document", { visibilityState: "visible", addEventListener: () => undefined, removeEventListener: () => undefined });
  kernel = new Kernel();
  store = new Store(kernel);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function connected(...jobs: JobRecord[]): void {
  store.open();
  kernel.snapshot(...jobs);
}

const running = job({ id: "1", status: "running" });

describe("connecting", () => {
  test("nothing is sent before a view is open", () => expect(kernel.received).toEqual([]));

  test("several views share one hello and one bye", () => {
    const first = store.open();
    const second = store.open();
    first();
    first();
    expect(kernel.types).toEqual(["hello"]);

    second();

    expect(kernel.types).toEqual(["hello", "bye"]);
    expect(kernel.listeners).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("a view that comes later connects again", () => {
    store.open()();
    store.open();

    expect(kernel.types).toEqual(["hello", "bye", "hello"]);
  });

  test("without an answer within five seconds there is no kernel", () => {
    store.open();
    vi.advanceTimersByTime(6000);

    expect(store.connection.value.state).toBe("absent");
    kernel.snapshot();
    expect(store.connection.value.state).toBe("live");
  });

  test("a kernel that falls silent is late, not gone, and clicks still count", () => {
    connected(running);
    vi.advanceTimersByTime(6000);

    expect(store.connection.value.state).toBe("late");
    expect(store.alive.value).toBe(true);
    kernel.patch();
    expect(store.connection.value.state).toBe("live");
  });

  test("a kernel that has gone stays gone, and hears nothing more", () => {
    connected(running);
    kernel.end("the kernel was restarted");
    const { length } = kernel.received;

    store.cancel(["1"]);
    kernel.patch();

    expect(store.connection.value).toEqual({ state: "gone", why: "the kernel was restarted" });
    expect(store.alive.value).toBe(false);
    expect(kernel.received.length).toBe(length);
  });

  test("a lost patch is answered by one hello a second", () => {
    connected(running);
    kernel.lose();
    for (let i = 0; i < 5; i += 1) kernel.patch();

    expect(kernel.types).toEqual(["hello", "hello"]);
  });

  test("an engine that was stopped takes no commands", () => {
    store.open();
    kernel.say({ type: "snapshot", epoch: "e", seq: 0, now: 0, engine: { ...engine, running: false }, jobs: [running] });

    expect(store.alive.value).toBe(false);
  });
});

describe("commands", () => {
  test("a cancelled job is marked at once, until it shows", () => {
    connected(running);
    store.cancel(["1"]);
    expect(store.asked.value.get("1")).toBe("cancel");

    kernel.answer({});
    expect(store.asked.value.get("1")).toBe("cancel");
    kernel.patch({ ...running, cancel_requested: true });

    expect(store.asked.value.size).toBe(0);
  });

  test("a refused one is not, and says why", () => {
    connected(running);
    store.cancel(["1"]);

    kernel.answer({ ok: false, text: "it can't be cancelled" });

    expect(store.asked.value.size).toBe(0);
    expect(store.answer.value).toEqual({ text: "it can't be cancelled", ok: false });
  });

  test("an answer that takes more than a second is announced", () => {
    connected(running);
    store.cancel(["1"]);
    vi.advanceTimersByTime(900);
    expect(store.slow.value).toBe(false);
    vi.advanceTimersByTime(200);
    expect(store.slow.value).toBe(true);

    kernel.answer({});

    expect(store.slow.value).toBe(false);
  });

  test("only those that can be are sent", () => {
    connected(running, job({ id: "2", status: "done" }));

    store.cancel(["1", "2", "nobody"]);
    store.rerun(["1", "2", "nobody"]);

    expect(kernel.received.flatMap((each) => ("ids" in each ? [[each.type, ...each.ids]] : []))).toEqual([["cancel", "1"], ["rerun", "2"]]);
  });

  test("clicks on a limit add up before the kernel has answered", () => {
    connected();
    store.limit("", 9);
    expect(store.limits.value.get("")).toBe(9);

    kernel.answer({});

    expect(store.limits.value.size).toBe(0);
  });
});

describe("a reader's desk", () => {
  test("doing it to many asks first", () => {
    connected(running, job({ id: "2", status: "pending" }));
    const desk = new Desk(store);

    desk.tickAll();
    desk.ask("cancel", desk.targets());
    expect(desk.confirmation.value?.ids).toEqual(["1", "2"]);
    expect(kernel.types).toEqual(["hello"]);

    desk.confirm();
    expect(kernel.types).toEqual(["hello", "cancel"]);
  });

  test("rows keep their places under the pointer, and take them after", () => {
    const jobs = [3, 1, 2].map((n) => job({ id: String(n), status: "done", started_at: 0, ended_at: n }));
    connected(...jobs);
    const desk = new Desk(store);
    desk.sortBy("time");
    expect(desk.visible.value).toEqual(["3", "2", "1"]);

    desk.pointing.value = true;
    kernel.patch(job({ id: "1", status: "done", started_at: 0, ended_at: 9 }), job({ id: "4", status: "done", started_at: 0, ended_at: 8 }));
    expect(desk.visible.value).toEqual(["3", "2", "1", "4"]);

    desk.pointing.value = false;
    expect(desk.visible.value).toEqual(["1", "4", "3", "2"]);
  });

  test("a filter typed while pointing counts at once", () => {
    connected(job({ id: "1", name: "a" }), job({ id: "2", name: "b" }));
    const desk = new Desk(store);
    expect(desk.visible.value.length).toBe(2);
    desk.pointing.value = true;

    desk.text.value = "name:b";

    expect(desk.visible.value).toEqual(["2"]);
  });

  test("failed jobs are found in turn, around the end", () => {
    connected(job({ id: "1", status: "failed" }), job({ id: "2" }), job({ id: "3", status: "failed" }));
    const desk = new Desk(store);
    const found = ([1, 1, 1, -1, -1] as const).map((step) => {
      desk.toFailed(step);
      return desk.cursor.value;
    });

    expect(found).toEqual(["1", "3", "1", "3", "1"]);
  });

  test("a range is selected in the order shown", () => {
    connected(...[1, 2, 3, 4].map((n) => job({ id: String(n) })));
    const desk = new Desk(store);
    desk.tick("3");

    desk.tickTo("1");

    expect([...desk.selected.value].sort()).toEqual(["1", "2", "3"]);
  });
});
