/** The filter box: plain words and `key:value` terms to a predicate over jobs. Pure. */

import { isWaiting, stopping } from "./model.ts";
import type { JobRecord } from "./schema.gen.ts";

/** What one may write before a colon, and where it looks. */
const FIELDS: Readonly<Record<string, (job: JobRecord) => string>> = {
  name: (job) => job.name,
  group: (job) => job.group ?? "",
  tag: (job) => job.tags.join("\n"),
  backend: (job) => job.backend,
  queue: (job) => job.queue,
  error: (job) => job.error,
  from: (job) => job.origin,
  args: (job) => job.arguments,
};

const STATUSES: Readonly<Record<string, (job: JobRecord) => boolean>> = {
  created: (job) => job.status === "created",
  pending: isWaiting,
  waiting: isWaiting,
  running: (job) => job.status === "running",
  stopping,
  done: (job) => job.status === "done",
  failed: (job) => job.status === "failed",
  cancelled: (job) => job.status === "cancelled",
  ended: (job) => job.status === "done" || job.status === "failed" || job.status === "cancelled",
};

export const KEYS: readonly string[] = ["status", ...Object.keys(FIELDS)];

export interface Query {
  readonly matches: (job: JobRecord) => boolean;
  /** Whether every job matches, so that nobody needs to ask. */
  readonly all: boolean;
  /** What is wrong with the text, for the reader; empty when nothing is. */
  readonly problem: string;
}

const TERM = /(-?)(?:([A-Za-z_]\w*):)?(?:"([^"]*)("?)|([^\s"]+))?/y;

type Test = (job: JobRecord) => boolean;

/** Everything that `text` asks for must hold; values with commas are alternatives. */
export function parseQuery(text: string): Query {
  const tests: Test[] = [];
  const problems: string[] = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text[at] ?? "")) {
      at += 1;
      continue;
    }
    TERM.lastIndex = at;
    const match = TERM.exec(text);
    if (!match || match[0] === "") {
      at += 1;
      continue;
    }
    at += match[0].length;
    const [, minus, key, quoted, closing, bare] = match;
    if (quoted !== undefined && closing === "") problems.push(`no closing quote after "${quoted}`);
    const value = quoted ?? bare ?? "";
    const test = key === undefined ? words(value) : keyed(key, value, quoted !== undefined, problems);
    if (test) tests.push(minus ? (job) => !test(job) : test);
  }
  return {
    matches: (job) => tests.every((test) => test(job)),
    all: tests.length === 0,
    problem: problems[0] ?? "",
  };
}

function words(value: string): Test | null {
  const needle = value.toLowerCase();
  return needle === "" ? null : (job) => haystack(job).includes(needle);
}

function keyed(key: string, value: string, quoted: boolean, problems: string[]): Test | null {
  const choices = quoted ? [value] : value.split(",").filter((each) => each !== "");
  if (key === "status") return byStatus(choices, problems);
  const field = FIELDS[key.toLowerCase()];
  if (!Object.hasOwn(FIELDS, key.toLowerCase()) || !field) {
    problems.push(`no key “${key}:”; there are ${KEYS.map((each) => `${each}:`).join(" ")}`);
    return null;
  }
  if (choices.length === 0) return null;
  const needles = choices.map((each) => each.toLowerCase());
  return (job) => {
    const text = field(job).toLowerCase();
    return needles.some((needle) => (needle === "" ? text === "" : text.includes(needle)));
  };
}

function byStatus(choices: readonly string[], problems: string[]): Test | null {
  const tests: Test[] = [];
  for (const choice of choices) {
    const name = choice.toLowerCase();
    const test = Object.hasOwn(STATUSES, name) ? STATUSES[name] : undefined;
    if (test) tests.push(test);
    else problems.push(`no status “${choice}”; there are ${Object.keys(STATUSES).join(", ")}`);
  }
  return tests.length ? (job) => tests.some((test) => test(job)) : null;
}

// A record never changes, so its searchable text is made once.
const haystacks = new WeakMap<JobRecord, string>();

function haystack(job: JobRecord): string {
  let text = haystacks.get(job);
  if (text === undefined) {
    text = [job.name, job.arguments, job.group ?? "", ...job.tags, job.error, job.message, job.waiting, job.result, job.note, job.address, job.origin]
      .join("\n")
      .toLowerCase();
    haystacks.set(job, text);
  }
  return text;
}
