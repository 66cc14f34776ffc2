/**
 * The dashboard and the card.
 *
 * Stable hooks for tests, as `data-testid`:
 *
 * - `board`, or `card` for one job: the root; `connection` has `data-state` (connecting live late absent gone)
 * - `chip-running chip-waiting chip-done chip-failed chip-cancelled`, `slots slots-less slots-limit slots-more`
 *   (`slots-process-less` and so on for a backend's own), `memory`, `filter filter-problem count clear-filter`
 * - `grid`, `sort-number sort-status sort-name sort-group sort-progress sort-time sort-memory sort-from`, `tick-all`
 * - `row` with `data-id data-status data-look data-name`; in it `tick`, `row-cancel` or `row-rerun`, `app-state
 *   app-open`; `no-match`
 * - `footer`: `selected matching select-none answer held cancel-many rerun-many help-button`; then `confirmation`
 *   with `confirm` and `decline`
 * - `detail` with `data-id`: `cancel` or `rerun`, `wide`, `close-detail`, `facts`, `note`, `tab-app tab-error tab-log
 *   tab-result tab-arguments tab-attempts` and `panel-…`; in them `app-frame app-address app-reload app-open app-height
 *   app-why app-anyway app-again app-gone`, `error exception library-frames as-text traceback copy`,
 *   `log log-search log-hits log-previous log-next log-where log-start log-end log-follow log-wrap`, `result`,
 *   `arguments upstream`, `attempts attempt`
 * - `banner` (what is wrong with the connection), `empty`, `help`
 */

import { useEffect, useRef } from "preact/hooks";
import type { ComponentChildren } from "preact";
import type { Desk } from "../desk.ts";
import { pressed } from "../keys.ts";
import { keepKeys } from "../shortcuts.ts";
import type { Store } from "../store.ts";
import { followTheme } from "../theme.ts";
import { CopyButton } from "./copy.tsx";
import { DetailPanel } from "./detail.tsx";
import { Footer, Said } from "./footer.tsx";
import { Header } from "./header.tsx";
import { Help } from "./help.tsx";
import { Table } from "./table.tsx";
import { Toolbar } from "./toolbar.tsx";

export function Dashboard({ desk }: { desk: Desk }) {
  const { store } = desk;
  void store.version.value;
  const opened = desk.opened.value;
  const none = store.board.jobs.size === 0;
  const rows = Math.max(3, desk.visible.value.length);
  return (
    <Root desk={desk} name="board">
      <Header desk={desk} />
      <Banner store={store} />
      {none ? (
        <Empty store={store} />
      ) : (
        <>
          <Toolbar desk={desk} />
          <div class={`ij-main${opened === null ? "" : desk.wide.value ? " ij-split ij-whole" : " ij-split"}`} style={{ "--ij-rows": String(Math.min(rows, 14)) }}>
            <Table desk={desk} />
            {opened !== null && <DetailPanel key={opened} desk={desk} id={opened} />}
          </div>
          <Footer desk={desk} />
        </>
      )}
    </Root>
  );
}

/** One job, live, without the table. */
export function Card({ desk, id }: { desk: Desk; id: string }) {
  return (
    <Root desk={desk} name="card">
      <Banner store={desk.store} />
      <DetailPanel desk={desk} id={id} card />
      <div class="ij-card-said">
        <Said desk={desk} />
      </div>
    </Root>
  );
}

function Root({ desk, name, children }: { desk: Desk; name: string; children: ComponentChildren }) {
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!root.current) return undefined;
    const stops = [followTheme(root.current), keepKeys(root.current)];
    return () => stops.forEach((stop) => stop());
  }, []);
  const keys = (event: KeyboardEvent) => {
    if (root.current && pressed(event, desk, root.current)) event.preventDefault();
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  };
  return (
    <div
      ref={root}
      class={`ipyjobs ij-${name}`}
      style={{ "--ij-app-height": `${desk.appHeight.value}px` }}
      data-testid={name}
      data-connection={desk.store.connection.value.state}
      data-lm-suppress-shortcuts="true"
      role="region"
      aria-label={name === "card" ? "Job" : "Jobs"}
      tabIndex={-1}
      onKeyDown={keys}
    >
      {children}
      {desk.help.value && <Help desk={desk} />}
    </div>
  );
}

/** What is wrong with the connection, where it can't be overlooked. */
function Banner({ store }: { store: Store }) {
  const connection = store.connection.value;
  const known = store.board.engine !== null;
  if (connection.state === "gone")
    return (
      <div class="ij-banner ij-bad" data-testid="banner" role="alert">
        <b>Disconnected:</b> {connection.why}. {known ? "What is shown is the last that was known; " : ""}re-run this cell.
      </div>
    );
  if (connection.state === "late")
    return (
      <div class="ij-banner" data-testid="banner" role="status">
        <b>The kernel is not answering.</b> What is shown may be old; clicks wait until it does.
      </div>
    );
  return null;
}

const FIRST_CELL = "runs = jobs.map(train, lr=[.1, .03, .01])";

function Empty({ store }: { store: Store }) {
  const { state } = store.connection.value;
  if (state === "gone") return null;
  if (state === "absent")
    return (
      <div class="ij-empty" data-testid="empty">
        <h3>Not connected</h3>
        <div>No kernel answers behind this view: re-run this cell.</div>
      </div>
    );
  if (state === "connecting")
    return (
      <div class="ij-empty" data-testid="empty">
        <div>Asking the kernel…</div>
      </div>
    );
  return (
    <div class="ij-empty" data-testid="empty">
      <h3>No jobs yet</h3>
      <div>Anything you submit from this notebook shows up here, live.</div>
      <pre>{FIRST_CELL}</pre>
      <CopyButton text={FIRST_CELL} />
    </div>
  );
}
