import { portOf, shortOf } from "../address.ts";
import { brief, nameOf } from "../format.ts";
import type { JobRecord } from "../schema.gen.ts";
import type { Store } from "../store.ts";
import { Glyph } from "./shapes.tsx";

/** A web app's row in a few words: its port, whether it answers, and the link to it where there is a way. */
export function AppLine({ job, store }: { job: JobRecord; store: Store }) {
  const live = store.live.value;
  const { place, way } = store.reach.to(job);
  const url = live && way && way.kind !== "none" ? way.url : null;
  const at = place ? portOf(place) : brief(job.address, 60);
  return (
    <span class={`ij-app-line${url ? " ij-linked" : ""}`} title={brief([place ? shortOf(place) : job.address, job.message, job.note].filter(Boolean).join(" · "), 600)}>
      <span class="ij-said" data-testid="app-state">
        {at}
        {live && (job.ready ? <span class="ij-app-ready"> ready</span> : " starting")}
      </span>
      {url && <AppLink url={url} name={job.name} label="open" />}
    </span>
  );
}

/** To the app in a tab of its own, which knows nothing of this page. */
export function AppLink({ url, name, label, button = false }: { url: string; name: string; label: string; button?: boolean }) {
  return (
    <a
      class={button ? "ij-btn ij-small ij-app-link" : "ij-app-link"}
      data-testid="app-open"
      href={url}
      target="_blank"
      rel="noopener noreferrer"
      tabIndex={button ? 0 : -1}
      aria-label={`open ${nameOf(name)} in a new tab`}
      title="Open in a new tab (o)"
      onClick={(event) => event.stopPropagation()}
    >
      {label}
      <Glyph name="open" />
    </a>
  );
}
