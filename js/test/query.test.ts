import { describe, expect, test } from "vitest";
import { parseQuery } from "../src/query.ts";
import { job } from "./jobs.ts";

const JOBS = [
  job({ id: "1", name: "train", arguments: "lr=0.1", group: "sweep", status: "failed", error: "ValueError: NaN in loss" }),
  job({ id: "2", name: "train", arguments: "lr=0.03", group: "sweep", status: "running", cancel_requested: true }),
  job({ id: "3", name: "make data", group: null, status: "pending", waiting: "after 12 jobs", backend: "thread" }),
  job({ id: "4", name: "Report", group: "my sweep", tags: ["weekly"], status: "done", result: "0.93", origin: "In[7]" }),
];

const found = (text: string): string => JOBS.filter(parseQuery(text).matches).map((each) => each.id).join("");

describe("a filter", () => {
  test.each([
    ["", "1234"],
    ["   ", "1234"],
    ["train", "12"],
    ["TRAIN lr=0.1", "1"],
    ["nan", "1"],
    ["-train", "34"],
    ['"make data"', "3"],
    ["status:failed", "1"],
    ["status:failed,done", "14"],
    ["status:waiting", "3"],
    ["status:stopping", "2"],
    ["-status:ended", "23"],
    ["group:sweep", "124"],
    ['group:"my sweep"', "4"],
    ['group:""', "3"],
    ["name:report", "4"],
    ["-name:train group:sweep", "4"],
    ["tag:week", "4"],
    ["backend:thread", "3"],
    ["from:In[7]", "4"],
    ["args:0.03", "2"],
    ["error:valueerror", "1"],
    ["nothing-like-it", ""],
  ])("%j finds %j", (text, ids) => expect(found(text)).toBe(ids));

  test.each(["", "  ", "status:", "group:"])("%j lets everything through", (text) => {
    expect(found(text)).toBe("1234");
    expect(parseQuery(text).all).toBe(true);
  });

  test.each([
    ["colour:red", "no key “colour:”"],
    ["__proto__:x", "no key “__proto__:”"],
    ["constructor:x", "no key “constructor:”"],
    ["status:finished", "no status “finished”"],
    ["status:__proto__", "no status “__proto__”"],
    ['name:"half', "no closing quote"],
  ])("%j is answered with %j", (text, problem) => expect(parseQuery(text).problem).toContain(problem));

  test("what is wrong does not hide the rest", () => expect(found("colour:red status:failed")).toBe("1"));

  test.each(["status", "name:", "-", '"', "--", ':"', "a:b:c", '-""', "<img src=x onerror=1>", "\u0000\u202e"])("%j does not throw", (text) => {
    expect(() => JOBS.filter(parseQuery(text).matches)).not.toThrow();
  });

  test("a word with a colon in quotes is a word", () => expect(found('"ValueError: NaN"')).toBe("1"));
});
