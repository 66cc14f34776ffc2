import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Desk, Tab } from "../desk.ts";
import { brief, bytes, nameOf, plural, visible, visibleLines, whole } from "../format.ts";
import { isEnded, isWaiting, lookOf } from "../model.ts";
import type { Detail, JobRecord } from "../schema.gen.ts";
import type { Store } from "../store.ts";
import { AppTab, appShown } from "./app.tsx";
import { Attempts } from "./attempts.tsx";
import { CopyButton } from "./copy.tsx";
import { ErrorTab } from "./error.tsx";
import { KernelLine } from "./header.tsx";
import { LogTab } from "./log.tsx";
import { Bar, nextText, reasonOf, retryText, RunTime } from "./row.tsx";
import { Glyph, Shape, WORDS } from "./shapes.tsx";

/** All about one job: a head with what can be done, a line of facts, and tabs. */
export function DetailPanel({ desk, id, card = false }: { desk: Desk; id: string; card?: boolean }) {
  const { store } = desk;
  const job = store.job(id);
  const detail = store.inspect(id).value;
  const visited = useSignal(false);
  useEffect(() => () => store.forget(id), [id]);
  if (!job) return <Missing desk={desk} card={card} />;
  const tabs = tabsOf(job, detail);
  const chosen = desk.tab.value;
  const tab = tabs.find((each) => each.tab === chosen)?.tab ?? (visited.peek() ? "app" : usualTab(job, desk));
  if (tab === "app") visited.value = true;
  return (
    <section class={`ij-detail${tab === "app" && appShown(job, desk) ? " ij-shows-app" : ""}`} data-testid="detail" data-id={id} aria-label={`Job ${nameOf(job.name)}`}>
      <DetailHead desk={desk} job={job} card={card} />
      <Facts job={job} detail={detail} store={store} />
      <div class="ij-tabs" role="tablist" aria-label="Parts of this job" onKeyDown={(event) => stepTabs(event, tabs, tab, desk)}>
        {tabs.map(({ tab: each, title, extra }) => (
          <button
            key={each}
            type="button"
            role="tab"
            data-testid={`tab-${each}`}
            class={each === tab ? "ij-on" : ""}
            aria-selected={each === tab}
            tabIndex={each === tab ? 0 : -1}
            onClick={() => (desk.tab.value = each)}
          >
            {title}
            {extra && <span>{extra}</span>}
          </button>
        ))}
      </div>
      {visited.value && job.address !== "" && (
        // Stays while another tab is looked at: taken out of the page, the app would begin anew.
        <div class="ij-body ij-body-app" role="tabpanel" data-testid="panel-app" hidden={tab !== "app"}>
          <AppTab desk={desk} job={job} />
        </div>
      )}
      {tab !== "app" && (
        <div class={`ij-body ij-body-${tab}`} role="tabpanel" data-testid={`panel-${tab}`} tabIndex={tab === "log" ? -1 : 0}>
          <Body tab={tab} job={job} detail={detail} desk={desk} />
        </div>
      )}
    </section>
  );
}

interface TabTitle {
  readonly tab: Tab;
  readonly title: string;
  readonly extra: string;
}

function tabsOf(job: JobRecord, detail: Detail | null): readonly TabTitle[] {
  const attempts = Math.max(detail?.attempts.length ?? 0, job.attempt);
  const all: readonly TabTitle[] = [
    { tab: "app", title: "App", extra: "" },
    { tab: "error", title: "Error", extra: "" },
    { tab: "log", title: "Log", extra: job.log_bytes ? bytes(job.log_bytes) : "" },
    { tab: "result", title: "Result", extra: "" },
    { tab: "arguments", title: "Arguments", extra: detail?.arguments.length ? String(detail.arguments.length) : "" },
    { tab: "attempts", title: "Attempts", extra: attempts > 1 ? whole(attempts) : "" },
  ];
  const failed = job.error !== "" || job.status === "failed" || (detail?.errors.length ?? 0) > 0;
  return all.filter(({ tab }) => (tab === "app" ? job.address !== "" : tab === "error" ? failed : tab === "result" ? job.status === "done" : true));
}

function usualTab(job: JobRecord, desk: Desk): Tab {
  if (job.address !== "" && appShown(job, desk)) return "app";
  if (job.status === "failed") return "error";
  if (job.status === "done") return "result";
  return isWaiting(job) ? "arguments" : "log";
}

function stepTabs(event: KeyboardEvent, tabs: readonly TabTitle[], tab: Tab, desk: Desk): void {
  const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
  if (!step || !(event.currentTarget instanceof HTMLElement)) return;
  event.preventDefault();
  event.stopPropagation();
  const at = tabs.findIndex((each) => each.tab === tab);
  const next = (at + step + tabs.length) % tabs.length;
  desk.tab.value = tabs[next]?.tab ?? null;
  const button = event.currentTarget.children[next];
  if (button instanceof HTMLElement) button.focus();
}

function DetailHead({ desk, job, card }: { desk: Desk; job: JobRecord; card: boolean }) {
  const { store } = desk;
  const asked = store.asked.value.get(job.id);
  const look = lookOf(job, asked === "cancel");
  const dead = !store.alive.value;
  return (
    <header class="ij-detail-head">
      <Shape look={look} />
      <b title={nameOf(job.name)}>{nameOf(job.name)}</b>
      <code title={brief(job.arguments, 600)}>{brief(job.arguments)}</code>
      <span class="ij-grow" />
      {card && <KernelLine store={store} />}
      {isEnded(job) ? (
        <button type="button" class="ij-btn" data-testid="rerun" disabled={dead || asked !== undefined} onClick={() => store.rerun([job.id])}>
          Rerun<kbd>r</kbd>
        </button>
      ) : (
        <button type="button" class="ij-btn" data-testid="cancel" disabled={dead || look === "stopping"} onClick={() => store.cancel([job.id])}>
          {look === "stopping" ? "Stopping" : "Cancel"}
          <kbd>c</kbd>
        </button>
      )}
      {!card && (
        <button type="button" class="ij-icon" data-testid="wide" aria-pressed={desk.wide.value} aria-label="Over the table" title={desk.wide.value ? "Beside the table" : "Over the table"} onClick={() => (desk.wide.value = !desk.wide.value)}>
          <Glyph name={desk.wide.value ? "narrower" : "wider"} />
        </button>
      )}
      {!card && (
        <button type="button" class="ij-icon" data-testid="close-detail" aria-label="Close" title="Close (Esc)" onClick={() => desk.close()}>
          <Glyph name="close" />
        </button>
      )}
    </header>
  );
}

/** Status, time, attempt, place, and what else must be known, on one line. */
function Facts({ job, detail, store }: { job: JobRecord; detail: Detail | null; store: Store }) {
  const look = lookOf(job, store.asked.value.get(job.id) === "cancel");
  const worker = job.status === "running" ? (detail?.attempts.at(-1)?.worker ?? "") : "";
  const waiting = isWaiting(job) ? (job.waiting_for === "retry" ? retryText(job, store) : job.waiting) : "";
  const facts = [
    look === "cancelled" || look === "failed" ? reasonOf(job) : "",
    waiting,
    job.attempt > 1 || job.retries > 0 ? `attempt ${Math.max(1, job.attempt)} of ${Math.max(job.attempt, job.retries + 1)}` : "",
    [job.backend, worker].filter(Boolean).join(" "),
    job.memory_bytes === null ? "" : bytes(job.memory_bytes),
    job.group === null ? "" : `group ${job.group}`,
    job.tags.length ? job.tags.map((tag) => `#${tag}`).join(" ") : "",
    job.priority ? `priority ${job.priority}` : "",
    job.origin,
  ].filter((each) => each !== "");
  return (
    <div class="ij-facts" data-testid="facts">
      <span class={`ij-is-${look}`}>{WORDS[look]}</span>
      {!isWaiting(job) && (
        <span class="ij-tabular">
          <RunTime job={job} store={store} />
        </span>
      )}
      {facts.map((each, i) => (
        <span key={i}>{brief(each, 120)}</span>
      ))}
      {job.note && (
        <span class="ij-note" data-testid="note">
          {brief(job.note)}
        </span>
      )}
      {job.status === "running" && job.progress !== null && (
        <div class="ij-wide">
          <Bar job={job} store={store} stopping={look === "stopping"} />
          {job.message && <span class="ij-message">{brief(job.message)}</span>}
        </div>
      )}
      {job.next_at !== null && <span class="ij-message">{brief(nextText(job, store))}</span>}
      {job.status === "running" && job.progress === null && job.next_at === null && job.message && <span class="ij-message">{brief(job.message)}</span>}
    </div>
  );
}

function Body({ tab, job, detail, desk }: { tab: Exclude<Tab, "app">; job: JobRecord; detail: Detail | null; desk: Desk }) {
  if (tab === "log") return <LogTab key={job.id} desk={desk} job={job} />;
  const gone = desk.store.connection.value.state === "gone";
  if (!detail) return <p class="ij-quiet">{job.error && tab === "error" ? visible(job.error) : gone ? "Not known before the kernel went away." : "Loading…"}</p>;
  switch (tab) {
    case "error":
      return <ErrorTab job={job} detail={detail} />;
    case "result":
      return <ResultTab job={job} detail={detail} />;
    case "arguments":
      return <ArgumentsTab detail={detail} desk={desk} />;
    case "attempts":
      return <Attempts attempts={detail.attempts} store={desk.store} />;
  }
}

function ResultTab({ job, detail }: { job: JobRecord; detail: Detail }) {
  const text = detail.result || job.result;
  return (
    <div class="ij-stack">
      <div class="ij-line-head">
        <span class="ij-type">{brief(detail.result_type) || "result"}</span>
        <span class="ij-grow" />
        {text && <CopyButton text={text} />}
      </div>
      {text ? (
        <pre class="ij-text" data-testid="result">
          {visibleLines(text)}
        </pre>
      ) : (
        <p class="ij-quiet">It returned nothing.</p>
      )}
    </div>
  );
}

function ArgumentsTab({ detail, desk }: { detail: Detail; desk: Desk }) {
  return (
    <div class="ij-stack">
      {detail.arguments.length ? (
        <table class="ij-arguments" data-testid="arguments">
          <tbody>
            {detail.arguments.map((each, i) => (
              <tr key={i}>
                <th scope="row">{brief(each.name, 120)}</th>
                <td class="ij-type">{brief(each.type, 120)}</td>
                <td>{visibleLines(each.text)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <p class="ij-quiet">Called without arguments.</p>
      )}
      {detail.upstream.length > 0 && (
        <div class="ij-upstream" data-testid="upstream">
          <h4>Needs {plural(detail.upstream.length, "job")}</h4>
          {detail.upstream.slice(0, 200).map((link) => (
            <button key={link.id} type="button" class="ij-link" onClick={() => desk.open(link.id)} disabled={!desk.store.board.jobs.has(link.id)}>
              <Shape look={lookOfStatus(link.status)} />
              {nameOf(link.name)}
              <code>{brief(desk.store.board.jobs.get(link.id)?.arguments ?? "", 60)}</code>
              <span>{link.via === "value" ? "its result" : "its end"}</span>
            </button>
          ))}
          {detail.upstream.length > 200 && <span class="ij-quiet">and {whole(detail.upstream.length - 200)} more</span>}
        </div>
      )}
    </div>
  );
}

function lookOfStatus(status: JobRecord["status"] | null) {
  return status === null || status === "created" || status === "pending" ? "waiting" : status;
}

function Missing({ desk, card }: { desk: Desk; card: boolean }) {
  const waiting = desk.store.connection.value.state === "connecting";
  return (
    <section class="ij-detail" data-testid="detail">
      <p class="ij-quiet ij-missing">{waiting ? "Asking the kernel…" : "This job is no longer known."}</p>
      {!card && (
        <button type="button" class="ij-btn" onClick={() => desk.close()}>
          Close
        </button>
      )}
    </section>
  );
}
