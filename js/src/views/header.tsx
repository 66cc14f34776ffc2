import type { Desk } from "../desk.ts";
import { plural, share, stopwatch, visible, whole } from "../format.ts";
import { CHIPS } from "../model.ts";
import type { Chip } from "../model.ts";
import type { EngineRecord, SlotRecord } from "../schema.gen.ts";
import type { Store } from "../store.ts";
import { Shape, WORDS } from "./shapes.tsx";

/** Counts that filter, how many may run, memory, and what the kernel is doing. */
export function Header({ desk }: { desk: Desk }) {
  const { store } = desk;
  void store.version.value;
  const { counts, engine } = store.board;
  return (
    <>
      <div class="ij-bar">
        <div class="ij-chips" role="group" aria-label="Show only jobs of a status">
          {CHIPS.map((chip) => (
            <ChipButton key={chip} chip={chip} n={counts[chip]} desk={desk} />
          ))}
        </div>
        <span class="ij-grow" />
        <KernelLine store={store} />
        {engine && <Slots engine={engine} store={store} />}
        {engine && /^https?:\/\//i.test(engine.dask_dashboard) && (
          <a class="ij-dask" data-testid="dask" href={engine.dask_dashboard} target="_blank" rel="noopener noreferrer" title="Open the Dask cluster's own page">
            Dask
          </a>
        )}
        {engine && engine.memory_total_bytes > 0 && (
          <span class="ij-memory" data-testid="memory" title="Memory in use on this machine">
            {share(engine.memory_used_bytes, engine.memory_total_bytes)}
          </span>
        )}
      </div>
      <Meter counts={counts} />
    </>
  );
}

function ChipButton({ chip, n, desk }: { chip: Chip; n: number; desk: Desk }) {
  const on = desk.chips.value.has(chip);
  return (
    <button
      type="button"
      class={`ij-chip${on ? ` ij-on ij-soft-${chip}` : ""}${n ? "" : " ij-none"}`}
      data-testid={`chip-${chip}`}
      aria-pressed={on}
      title={on ? "Show the others again" : `Show only ${WORDS[chip]} jobs`}
      onClick={() => desk.toggleChip(chip)}
    >
      <Shape look={chip} />
      <b>{whole(n)}</b> <span>{WORDS[chip]}</span>
    </button>
  );
}

const PARTS: readonly Chip[] = ["done", "running", "failed", "cancelled", "waiting"];

function Meter({ counts }: { counts: Readonly<Record<Chip, number>> }) {
  const total = PARTS.reduce((sum, chip) => sum + counts[chip], 0);
  const said = PARTS.filter((chip) => counts[chip]).map((chip) => `${counts[chip]} ${WORDS[chip]}`);
  return (
    <div class="ij-meter" role="img" aria-label={total ? said.join(", ") : "no jobs"}>
      {PARTS.map((chip) => (counts[chip] ? <i key={chip} class={`ij-part-${chip}`} style={{ flexGrow: counts[chip] }} /> : null))}
    </div>
  );
}

/** One line on the kernel: not connected, not answering, busy with a cell, or idle. */
export function KernelLine({ store }: { store: Store }) {
  void store.version.value;
  const connection = store.connection.value;
  const { engine } = store.board;
  const now = store.second.value;
  let tone = "ij-idle";
  let text = "kernel idle";
  let more = "The kernel waits for the next cell";
  if (connection.state === "gone") [tone, text, more] = ["ij-bad", "disconnected", connection.why];
  else if (connection.state === "absent") [tone, text, more] = ["ij-bad", "not connected", "No kernel answers behind this view"];
  else if (connection.state === "connecting") [tone, text, more] = ["ij-off", "connecting", "Waiting for the kernel's first answer"];
  else if (connection.state === "late")
    [tone, text, more] = ["ij-warn", `not answering ${stopwatch(now - connection.since)}`, "Something in the kernel keeps it from answering; clicks wait"];
  else if (engine && !engine.running) [tone, text, more] = ["ij-bad", "engine stopped", "Start the engine to run jobs again"];
  else if (engine && engine.busy_since !== null) {
    [tone, text] = ["ij-busy", `${visible(engine.busy_with) || "cell"} running ${stopwatch(now - engine.busy_since)}`];
    more = engine.comm_subshell ? "A cell is running; jobs and clicks go on" : "A cell is running; clicks wait until it ends";
  }
  return (
    <span class={`ij-kernel ${tone}`} data-testid="connection" data-state={connection.state} title={more}>
      <i aria-hidden="true" />
      {text}
      {tone === "ij-busy" && engine?.comm_subshell === false && <em>clicks wait</em>}
    </span>
  );
}

function Slots({ engine, store }: { engine: EngineRecord; store: Store }) {
  const all = engine.slots.find((slot) => slot.name === "");
  const others = engine.slots.filter((slot) => slot.name !== "");
  return (
    <>
      {all && <Stepper slot={all} store={store} />}
      {others.map((slot) => (
        <Stepper key={slot.name} slot={slot} store={store} />
      ))}
    </>
  );
}

function Stepper({ slot, store }: { slot: SlotRecord; store: Store }) {
  const { name, used } = slot;
  const limit = store.limits.value.get(name) ?? slot.limit;
  const word = name === "" ? "slots" : visible(name);
  if (limit === null) return null;
  const dead = !store.alive.value;
  const set = (to: number) => store.limit(name, to);
  return (
    <span class={`ij-slots${name ? " ij-slots-more" : ""}`} data-testid={name ? `slots-${name}` : "slots"} title={`${used} of ${plural(limit, name ? `${word} slot` : "slot")} in use`}>
      {word}
      <span class="ij-step" role="group" aria-label={`${word}: how many jobs may run at once`}>
        <button type="button" data-testid={name ? `slots-${name}-less` : "slots-less"} aria-label={`fewer ${word}`} disabled={dead || limit <= 1} onClick={() => set(limit - 1)}>
          −
        </button>
        <output data-testid={name ? `slots-${name}-limit` : "slots-limit"}>{limit}</output>
        <button type="button" data-testid={name ? `slots-${name}-more` : "slots-more"} aria-label={`more ${word}`} disabled={dead} onClick={() => set(limit + 1)}>
          +
        </button>
      </span>
    </span>
  );
}
