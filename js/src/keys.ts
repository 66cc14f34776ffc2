/** Keys to what they do; only for events from within a view. */

import type { Desk } from "./desk.ts";

type Action = (desk: Desk, root: HTMLElement) => void;

const PAGE = 10;

const KEYS: Readonly<Record<string, Action>> = {
  ArrowDown: (desk) => desk.move(1),
  ArrowUp: (desk) => desk.move(-1),
  PageDown: (desk) => desk.move(PAGE),
  PageUp: (desk) => desk.move(-PAGE),
  Home: (desk) => desk.move(-Infinity),
  End: (desk) => desk.move(Infinity),
  j: (desk) => desk.move(1),
  k: (desk) => desk.move(-1),
  x: (desk) => withCursor(desk, (id) => desk.tick(id)),
  " ": (desk) => withCursor(desk, (id) => desk.tick(id)),
  a: (desk) => desk.tickAll(),
  "/": (desk, root) => focusSearch(desk, root),
  Enter: (desk) => withCursor(desk, (id) => desk.open(id)),
  c: (desk) => desk.ask("cancel", desk.targets()),
  r: (desk) => desk.ask("rerun", desk.targets()),
  o: (desk) => withCursor(desk, (id) => desk.openApp(id)),
  l: (desk) => withCursor(desk, (id) => desk.open(id, "log")),
  f: (desk) => (desk.follow.value = !desk.follow.peek()),
  w: (desk) => (desk.wrap.value = !desk.wrap.peek()),
  "[": (desk) => desk.toFailed(-1),
  "]": (desk) => desk.toFailed(1),
  "?": (desk) => (desk.help.value = true),
};

/** Keys that mean something to a control which has the focus. */
const CONTROL_KEYS = new Set(["Enter", " ", "ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"]);

function withCursor(desk: Desk, then: (id: string) => void): void {
  const id = desk.cursor.peek() ?? desk.opened.peek();
  if (id !== null) then(id);
}

function focusSearch(desk: Desk, root: HTMLElement): void {
  const log = desk.opened.peek() === null ? null : root.querySelector<HTMLInputElement>("[data-testid=log-search]");
  const inLog = document.activeElement?.closest(".ij-detail");
  const input = log && (inLog || !root.querySelector("[data-testid=filter]")) ? log : root.querySelector<HTMLInputElement>("[data-testid=filter]");
  input?.focus();
  input?.select();
}

/** Step back by one: help, question, field, panel, selection. */
function escape(desk: Desk, root: HTMLElement, target: EventTarget | null): boolean {
  if (desk.help.peek()) desk.help.value = false;
  else if (desk.confirmation.peek()) desk.confirmation.value = null;
  else if (target instanceof HTMLInputElement) {
    if (target.dataset["testid"] === "filter" && target.value) desk.text.value = "";
  } else if (desk.opened.peek() !== null && root.querySelector(".ij-grid")) desk.close();
  else if (desk.selected.peek().size) desk.selected.value = new Set();
  else return false;
  desk.moved.value += 1; // the focus goes back to the row it was on
  return true;
}

/** Act on a key; true when it meant something and is not for the notebook. */
export function pressed(event: KeyboardEvent, desk: Desk, root: HTMLElement): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const { target, key } = event;
  if (key === "Escape") return escape(desk, root, target);
  if (target instanceof HTMLInputElement) {
    if (key !== "ArrowDown" || target.dataset["testid"] !== "filter") return false;
    desk.move(desk.cursor.peek() === null ? 1 : 0);
    return true;
  }
  if (desk.help.peek() || (desk.confirmation.peek() && CONTROL_KEYS.has(key))) return false;
  const inRow = target instanceof HTMLElement && target.dataset["testid"] === "row";
  if (!inRow && target !== root && CONTROL_KEYS.has(key)) return false;
  const action = Object.hasOwn(KEYS, key) ? KEYS[key] : undefined;
  if (!action) return false;
  action(desk, root);
  return true;
}
