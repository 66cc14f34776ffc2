import { useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { Desk } from "../desk.ts";
import { rowsWithin } from "../order.ts";
import type { Column } from "../order.ts";
import { ROW, Row } from "./row.tsx";

const COLUMNS: readonly { readonly column: Column; readonly title: string; readonly css: string; readonly hint?: string }[] = [
  { column: "number", title: "#", css: "ij-number", hint: "Order of submission" },
  { column: "status", title: "Status", css: "ij-status" },
  { column: "name", title: "Name", css: "ij-name" },
  { column: "group", title: "Group", css: "ij-group" },
  { column: "progress", title: "Progress", css: "ij-progress" },
  { column: "time", title: "Time", css: "ij-num ij-time" },
  { column: "memory", title: "Memory", css: "ij-num ij-mem" },
  { column: "from", title: "From", css: "ij-num ij-from", hint: "The cell that submitted it" },
];

/** Rows beyond the page on either side, so that fast scrolling shows no gaps. */
const SPARE = 8;
/** Pixels of the head, which stays on top. */
const HEAD = 26;

/** The virtual table: only what can be seen is in the document, and the row with the cursor. */
export function Table({ desk }: { desk: Desk }) {
  const { store } = desk;
  void store.version.value;
  const ids = desk.visible.value;
  const scroller = useRef<HTMLDivElement>(null);
  const page = useSignal({ top: 0, height: 480 });
  useEffect(() => followPage(scroller.current, (top, height) => (page.value = { top, height })), []);
  useFocus(desk, scroller);
  const [first, last] = rowsWithin(page.value.top, page.value.height, ROW, ids.length, SPARE);
  const cursor = desk.cursor.value;
  const at = cursor === null ? -1 : ids.indexOf(cursor);
  const stop = at < 0 ? 0 : at; // the row that the Tab key reaches
  const shown = ids.slice(first, last).map((id, i) => [id, first + i] as const);
  const stopId = ids[stop];
  if (stopId !== undefined && (stop < first || stop >= last)) shown.push([stopId, stop]);
  const { value: asked } = store.asked;
  const { value: selected } = desk.selected;
  const { value: opened } = desk.opened;
  return (
    <div
      ref={scroller}
      class="ij-grid"
      role="grid"
      data-testid="grid"
      aria-label="Jobs"
      aria-rowcount={ids.length + 1}
      aria-multiselectable="true"
    >
      <Head desk={desk} ids={ids} />
      <div
        role="rowgroup"
        class="ij-canvas"
        style={{ height: `${ids.length * ROW}px` }}
        onPointerEnter={(event) => event.pointerType === "mouse" && (desk.pointing.value = true)}
        onPointerLeave={() => (desk.pointing.value = false)}
      >
        {shown.map(([id, index]) => {
          const job = store.board.jobs.get(id);
          return (
            job && (
              <Row
                key={id}
                job={job}
                index={index}
                cursor={index === stop}
                opened={id === opened}
                selected={selected.has(id)}
                asked={asked.get(id)}
                desk={desk}
              />
            )
          );
        })}
      </div>
      {ids.length === 0 && <NoMatch desk={desk} />}
    </div>
  );
}

function NoMatch({ desk }: { desk: Desk }) {
  return (
    <div class="ij-nomatch" data-testid="no-match">
      No job matches.{" "}
      <button type="button" class="ij-link" onClick={() => desk.clearFilter()}>
        Show all
      </button>
    </div>
  );
}

function Head({ desk, ids }: { desk: Desk; ids: readonly string[] }) {
  const { value: selected } = desk.selected;
  const { column: by, descending } = desk.sorting.value;
  const some = selected.size > 0 && ids.some((id) => selected.has(id));
  const all = some && ids.every((id) => selected.has(id));
  return (
    <div role="rowgroup" class="ij-headgroup">
      <div role="row" class="ij-row ij-head" aria-rowindex={1}>
        <div role="columnheader" class="ij-tick">
          <button type="button" class={`ij-box${all ? " ij-on" : some ? " ij-some" : ""}`} data-testid="tick-all" role="checkbox" aria-checked={all ? "true" : some ? "mixed" : "false"} aria-label="select all that match" title="Select all that match (a)" onClick={() => desk.tickAll()} />
        </div>
        {COLUMNS.map(({ column, title, css, hint }) => (
          <div key={column} role="columnheader" class={css} aria-sort={by !== column ? "none" : descending ? "descending" : "ascending"}>
            <button type="button" class={by === column ? "ij-on" : ""} data-testid={`sort-${column}`} title={hint ?? `Sort by ${title.toLowerCase()}`} onClick={() => desk.sortBy(column)}>
              {title}
              <span class="ij-arrow" aria-hidden="true">
                {by === column ? (descending ? "↓" : "↑") : ""}
              </span>
            </button>
          </div>
        ))}
      </div>
    </div>
  );
}

/** Report scroll position and height, at most once a frame. */
function followPage(element: HTMLElement | null, seen: (top: number, height: number) => void): () => void {
  if (!element) return () => undefined;
  let frame = 0;
  const look = () => {
    frame = 0;
    if (!element.clientHeight) return; // out of the page just now; it may be back before anybody says so
    seen(element.scrollTop, element.clientHeight);
  };
  const later = () => {
    if (!frame) frame = requestAnimationFrame(look);
  };
  const size = new ResizeObserver(later);
  size.observe(element);
  element.addEventListener("scroll", later, { passive: true });
  return () => {
    size.disconnect();
    element.removeEventListener("scroll", later);
    cancelAnimationFrame(frame);
  };
}

/** When the keyboard has moved the cursor: bring its row into view and give it the focus. */
function useFocus(desk: Desk, scroller: { readonly current: HTMLDivElement | null }): void {
  const moved = desk.moved.value;
  useLayoutEffect(() => {
    const element = scroller.current;
    const id = desk.cursor.peek();
    if (!moved || !element || id === null) return;
    const top = desk.visible.peek().indexOf(id) * ROW;
    if (top < 0) return;
    const page = element.clientHeight - HEAD;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW > element.scrollTop + page) element.scrollTop = top + ROW - page;
    const row = [...element.querySelectorAll<HTMLElement>("[data-id]")].find((each) => each.dataset["id"] === id);
    row?.focus({ preventScroll: true });
  }, [moved]);
}
