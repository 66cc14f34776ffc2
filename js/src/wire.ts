/** The one place where foreign data becomes ours: every message of the kernel passes here. Pure. */

import type { MessageOut } from "./schema.gen.ts";

type Kind = "string" | "number" | "boolean" | "object" | "array";

/** The fields without which a message would break the page; the kernel's side is typed and tested in full. */
const SHAPES: Readonly<Record<MessageOut["type"], Readonly<Record<string, Kind>>>> = {
  snapshot: { epoch: "string", seq: "number", now: "number", engine: "object", jobs: "array" },
  patch: { epoch: "string", seq: "number", now: "number", jobs: "array", removed: "array" },
  beat: { epoch: "string", seq: "number", now: "number" },
  detail: { id: "string", found: "boolean", errors: "array", arguments: "array", attempts: "array", upstream: "array" },
  log: { id: "string", start: "number", stop: "number", size: "number", text: "string" },
  matches: { id: "string", query: "string", offsets: "array", total: "number" },
  answer: { request: "number", ok: "boolean", text: "string" },
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isKind(value: unknown, kind: Kind): boolean {
  if (kind === "array") return Array.isArray(value);
  return kind === "object" ? isObject(value) : typeof value === kind;
}

function isMessage(value: unknown): value is MessageOut {
  if (!isObject(value)) return false;
  const type = value["type"];
  if (typeof type !== "string" || !Object.hasOwn(SHAPES, type)) return false;
  const shape: Readonly<Record<string, Kind>> | undefined = Object.entries(SHAPES).find(([name]) => name === type)?.[1];
  if (!shape || !Object.entries(shape).every(([name, kind]) => isKind(value[name], kind))) return false;
  const jobs = value["jobs"];
  return !Array.isArray(jobs) || jobs.every((job) => isObject(job) && typeof job["id"] === "string");
}

/** The message, or null when it is none of ours. */
export function readMessage(content: unknown): MessageOut | null {
  return isMessage(content) ? content : null;
}
