import { useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { shortOf } from "../address.ts";
import type { Place } from "../address.ts";
import type { Desk } from "../desk.ts";
import { brief, nameOf, plural } from "../format.ts";
import { isEnded, isWaiting, lookOf } from "../model.ts";
import type { Fit } from "../reach.ts";
import type { JobRecord } from "../schema.gen.ts";
import { tunnelTo } from "../way.ts";
import type { NoWay, Way } from "../way.ts";
import { AppLink } from "./appline.tsx";
import { CopyButton } from "./copy.tsx";
import { Glyph, WORDS } from "./shapes.tsx";

/** Whether there is something to see of the app now: its frame, or how to get to it. */
export function appShown(job: JobRecord, desk: Desk): boolean {
  return job.ready && job.status === "running" && desk.store.live.value;
}

/** The web app that the job runs, in a frame; or why it is not there, and the way out. */
export function AppTab({ desk, job }: { desk: Desk; job: JobRecord }) {
  const turn = useSignal(0);
  const anyway = useSignal(false);
  if (!appShown(job, desk)) return <Absent desk={desk} job={job} />;
  const { reach } = desk.store;
  const { place, way } = reach.to(job);
  if (!place)
    return (
      <Words name="app-why">
        <p>The address that it gives is none that this page opens: only http and https on this machine or on the page's own host, with a port, and not Jupyter itself.</p>
        <code class="ij-type">{brief(job.address, 400)}</code>
      </Words>
    );
  const fit = way?.kind === "proxied" ? reach.fit(job, way.url) : null;
  const framed = way?.kind === "direct" || fit?.kind === "whole" || (fit?.kind === "parts" && anyway.value);
  return (
    <div class="ij-app">
      <Tools job={job} place={place} way={way} reload={framed ? () => (turn.value += 1) : null} />
      {!way ? (
        <p class="ij-quiet ij-app-words">Looking for the way to {shortOf(place)} …</p>
      ) : way.kind === "none" ? (
        <NoWayThere desk={desk} name={job.name} place={place} why={way.why} />
      ) : framed ? (
        <Frame key={`${way.url} ${turn.value}`} job={job} url={way.url} sandbox={way.kind === "direct" ? APART : SHUT_OFF} />
      ) : (
        <Unfit desk={desk} job={job} place={place} url={way.url} fit={fit} anyway={anyway} />
      )}
      <Grip height={desk.appHeight} />
    </div>
  );
}

/** It has an origin of its own, so it may keep it; it must not take this page elsewhere. */
const APART = "allow-scripts allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals";
/** It comes from Jupyter's own address: with `allow-same-origin` it could do whatever this page can. */
const SHUT_OFF = "allow-scripts allow-forms allow-popups allow-downloads";

function Frame({ job, url, sandbox }: { job: JobRecord; url: string; sandbox: string }) {
  return <iframe class="ij-app-frame" data-testid="app-frame" title={`${nameOf(job.name)}, web app`} src={url} sandbox={sandbox} referrerpolicy="no-referrer" />;
}

interface UnfitProps {
  readonly desk: Desk;
  readonly job: JobRecord;
  readonly place: Place;
  readonly url: string;
  readonly fit: Fit | null;
  readonly anyway: Signal<boolean>;
}

/** Why a proxied app has no frame, and what can be done. */
function Unfit({ desk, job, place, url, fit, anyway }: UnfitProps) {
  if (!fit || fit.kind === "whole") return <p class="ij-quiet ij-app-words">Asking the proxy …</p>;
  if (fit.kind === "refused")
    return (
      <Words name="app-why">
        <p>{fit.status ? `Jupyter's proxy answers ${fit.status} instead of the app.` : "Jupyter's proxy does not answer for the app."}</p>
        <AgainButton desk={desk} />
      </Words>
    );
  if (fit.astray) return <Astray desk={desk} job={job} place={place} url={url} path={fit.astray} />;
  return (
    <Words name="app-why">
      <p>
        <b>This app needs a tab of its own.</b> {needs(fit.files)}
      </p>
      <div class="ij-line-head">
        <AppLink url={url} name={job.name} label="Open in a new tab" button />
        <button type="button" class="ij-btn ij-small" data-testid="app-anyway" onClick={() => (anyway.value = true)}>
          Show what there is here
        </button>
      </div>
    </Words>
  );
}

function needs(files: number): string {
  const shut = "It is reached through Jupyter's own address, so a frame of it is shut off from Jupyter's login";
  return files ? `${shut}, and the ${plural(files, "file")} that it is made of would not load.` : `${shut}, and what it asks its server for would be refused.`;
}

/** It takes the host to be its own, which Jupyter's is not. */
function Astray({ desk, job, place, url, path }: { desk: Desk; job: JobRecord; place: Place; url: string; path: string }) {
  return (
    <Words name="app-why">
      <p>
        <b>This app does not go through a proxy.</b> It asks for <code class="ij-way-out">{brief(path, 120)}</code> at the root of the host, where Jupyter answers. Let it use relative addresses, if it can.
      </p>
      <WayOut title="Or bring its port to this computer, in a terminal that you keep open:" code={tunnelTo(place, desk.store.reach.page)} />
      <div class="ij-line-head">
        <AppLink url={place.url} name={job.name} label={`Then open ${shortOf(place)}`} button />
        <AppLink url={url} name={job.name} label="Try it in a new tab" button />
      </div>
    </Words>
  );
}

const REASONS: Readonly<Record<NoWay, (at: string, host: string) => string>> = {
  elsewhere: (at, host) => `This page comes from ${host}; the app answers only on the kernel's machine, at ${at}.`,
  silent: (at) => `The app answers where the kernel runs, but at ${at} nothing answers here: Jupyter itself seems to come through a tunnel.`,
  mixed: (at) => `This page came over https, and may not show the http page of ${at} inside itself.`,
};

function NoWayThere({ desk, name, place, why }: { desk: Desk; name: string; place: Place; why: NoWay }) {
  const { page } = desk.store.reach;
  const at = shortOf(place);
  const jupyter = page.base !== null && !place.secure;
  return (
    <Words name="app-why">
      <p>
        <b>No way to the app from inside this page.</b> {REASONS[why](at, page.hostname || "elsewhere")}
      </p>
      {jupyter && <WayOut title="Let Jupyter pass it on: install this where Jupyter runs, and start Jupyter anew." code="pip install jupyter-server-proxy" />}
      {why !== "mixed" && <WayOut title={`${jupyter ? "Or bring" : "Bring"} its port to this computer, in a terminal that you keep open:`} code={tunnelTo(place, page)} />}
      <div class="ij-line-head">
        <AppLink url={place.url} name={name} label={why === "mixed" ? `Open ${at}` : `Then open ${at}`} button />
        <AgainButton desk={desk} />
      </div>
    </Words>
  );
}

function WayOut({ title, code }: { title: string; code: string }) {
  return (
    <div>
      <p>{title}</p>
      <div class="ij-line-head">
        <code class="ij-way-out">{code}</code>
        <CopyButton text={code} />
      </div>
    </div>
  );
}

function AgainButton({ desk }: { desk: Desk }) {
  return (
    <button type="button" class="ij-btn ij-small" data-testid="app-again" onClick={() => desk.store.reach.again()}>
      Look again
    </button>
  );
}

/** The app is not to be seen: why, and where to look. */
function Absent({ desk, job }: { desk: Desk; job: JobRecord }) {
  const look = lookOf(job);
  const to = (tab: "error" | "log", label: string) => (
    <button type="button" class="ij-btn ij-small" onClick={() => (desk.tab.value = tab)}>
      {label}
    </button>
  );
  if (!desk.store.live.value) return <Words name="app-gone">{<p>The kernel is not there, so the app is not shown.</p>}</Words>;
  if (isWaiting(job)) return <Words name="app-gone">{<p>The app has not started yet.</p>}</Words>;
  return (
    <Words name="app-gone">
      {isEnded(job) ? (
        <p>
          <b class={`ij-is-${look}`}>The app has ended</b> ({WORDS[look]}){job.error && `: ${brief(job.error)}`}
        </p>
      ) : (
        <p>
          <b>The app is not ready.</b> Nothing answers at {brief(job.address, 80)} at present.
        </p>
      )}
      <div class="ij-line-head">
        {job.error && to("error", "Error")}
        {to("log", "Log")}
      </div>
    </Words>
  );
}

function Words({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div class="ij-app-words" data-testid={name} role="status">
      {children}
    </div>
  );
}

const HOW: Readonly<Record<Way["kind"], string>> = { direct: "", proxied: "through Jupyter", none: "" };

function Tools({ job, place, way, reload }: { job: JobRecord; place: Place; way: Way | null; reload: (() => void) | null }) {
  return (
    <div class="ij-app-tools">
      <code data-testid="app-address" title={place.url}>
        {shortOf(place)}
      </code>
      {way && HOW[way.kind] && <span class="ij-where">{HOW[way.kind]}</span>}
      <span class="ij-grow" />
      {reload && (
        <button type="button" class="ij-icon" data-testid="app-reload" aria-label="Reload the app" title="Reload" onClick={reload}>
          <Glyph name="rerun" />
        </button>
      )}
      {way && way.kind !== "none" && <AppLink url={way.url} name={job.name} label="Open" button />}
    </div>
  );
}

const STEP = 40;
const LOWEST = 260;
const HIGHEST = 2000;

/** The lower edge, by which the app is made higher or lower: dragged, or by arrow keys. */
function Grip({ height }: { height: Signal<number> }) {
  const from = useRef<{ readonly y: number; readonly height: number } | null>(null);
  const set = (to: number) => (height.value = Math.round(Math.min(HIGHEST, Math.max(LOWEST, to))));
  const keys = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? STEP : event.key === "ArrowUp" ? -STEP : 0;
    if (!step) return;
    event.preventDefault();
    set(height.value + step);
  };
  return (
    <div
      class="ij-grip"
      data-testid="app-height"
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the app"
      aria-valuemin={LOWEST}
      aria-valuemax={HIGHEST}
      aria-valuenow={height.value}
      tabIndex={0}
      title="Drag to make it higher or lower"
      onKeyDown={keys}
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        from.current = { y: event.clientY, height: height.value };
      }}
      onPointerMove={(event) => from.current && set(from.current.height + event.clientY - from.current.y)}
      onPointerUp={() => (from.current = null)}
      onPointerCancel={() => (from.current = null)}
    />
  );
}
