import { useLayoutEffect, useRef } from "preact/hooks";
import type { Confirmation, Desk } from "../desk.ts";
import { plural, whole } from "../format.ts";
import type { Verb } from "../store.ts";

/** What is selected, what can be done with it, and what came of what was done. */
export function Footer({ desk }: { desk: Desk }) {
  const confirmation = desk.confirmation.value;
  if (confirmation) return <Confirm desk={desk} confirmation={confirmation} />;
  const selected = desk.chosen();
  const rows = desk.visible.value;
  const targets = selected.length ? selected : rows;
  const failed = selected.length ? desk.able("rerun", targets) : failedOf(desk, rows);
  const cancel = desk.able("cancel", targets).filter((id) => desk.store.asked.value.get(id) !== "cancel");
  const dead = !desk.store.alive.value;
  const rerunWord = selected.length ? "Rerun" : "Rerun failed";
  return (
    <div class="ij-foot" data-testid="footer">
      {selected.length > 0 && <b data-testid="selected">{whole(selected.length)} selected</b>}
      <span data-testid="matching">
        {desk.filtered ? `${whole(rows.length)} match` : plural(rows.length, "job")}
      </span>
      {selected.length > 0 && (
        <button type="button" class="ij-link" data-testid="select-none" onClick={() => (desk.selected.value = new Set())}>
          clear
        </button>
      )}
      <Said desk={desk} />
      <span class="ij-grow" />
      <button type="button" class="ij-btn" data-testid="cancel-many" disabled={dead || !cancel.length} onClick={() => desk.ask("cancel", cancel)}>
        Cancel{count(cancel)}
        {selected.length > 0 && <kbd>c</kbd>}
      </button>
      <button type="button" class="ij-btn" data-testid="rerun-many" disabled={dead || !failed.length} onClick={() => desk.ask("rerun", failed)}>
        {rerunWord}
        {count(failed)}
        {selected.length > 0 && <kbd>r</kbd>}
      </button>
      <button type="button" class="ij-icon ij-help-button" data-testid="help-button" aria-label="Keys" title="Keys (?)" onClick={() => (desk.help.value = true)}>
        ?
      </button>
    </div>
  );
}

const count = (ids: readonly string[]): string => (ids.length ? ` ${whole(ids.length)}` : "");

function failedOf(desk: Desk, ids: readonly string[]): readonly string[] {
  const { jobs } = desk.store.board;
  return ids.filter((id) => jobs.get(id)?.status === "failed");
}

/** The last answer; that the kernel is slow to give one; that rows are held. */
export function Said({ desk }: { desk: Desk }) {
  const answer = desk.store.answer.value;
  const slow = desk.store.slow.value;
  const text = slow ? "kernel busy, queued" : answer ? answer.text : "";
  return (
    <>
      <span class={`ij-answer${answer && !answer.ok && !slow ? " ij-is-failed" : ""}`} role="status" aria-live="polite" data-testid="answer">
        {text}
      </span>
      {desk.held.value && <span class="ij-held" data-testid="held">order held while you point</span>}
    </>
  );
}

const VERBS: Readonly<Record<Verb, string>> = { cancel: "Cancel", rerun: "Rerun" };

function Confirm({ desk, confirmation }: { desk: Desk; confirmation: Confirmation }) {
  const button = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => button.current?.focus(), []);
  const { verb, ids } = confirmation;
  return (
    <div class="ij-foot ij-asking" role="alertdialog" aria-label={`${VERBS[verb]} ${plural(ids.length, "job")}?`} data-testid="confirmation">
      <b>
        {VERBS[verb]} {plural(ids.length, "job")}?
      </b>
      <span class="ij-grow" />
      <button ref={button} type="button" class={`ij-btn ij-sure ij-sure-${verb}`} data-testid="confirm" onClick={() => desk.confirm()}>
        {VERBS[verb]} {whole(ids.length)}
      </button>
      <button type="button" class="ij-btn" data-testid="decline" onClick={() => (desk.confirmation.value = null)}>
        Keep<kbd>Esc</kbd>
      </button>
    </div>
  );
}
