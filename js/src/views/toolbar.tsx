import type { Desk } from "../desk.ts";
import { whole } from "../format.ts";
import { Glyph } from "./shapes.tsx";

/** The filter box and how many jobs pass it. */
export function Toolbar({ desk }: { desk: Desk }) {
  const { problem } = desk.query.value;
  void desk.store.version.value;
  const total = desk.store.board.jobs.size;
  const shown = desk.visible.value.length;
  return (
    <div class="ij-tools">
      <label class={`ij-search${problem ? " ij-wrong" : ""}`}>
        <Glyph name="search" />
        <input
          type="text"
          data-testid="filter"
          value={desk.text.value}
          placeholder="Filter: words, status:failed, group:sweep, -name:test"
          aria-label="Filter jobs"
          aria-invalid={problem !== ""}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          onInput={(event) => (desk.text.value = event.currentTarget.value)}
        />
        <span class="ij-count" data-testid="count" aria-live="polite">
          {desk.filtered ? `${whole(shown)} of ${whole(total)}` : whole(total)}
        </span>
        {desk.filtered && (
          <button type="button" class="ij-icon" data-testid="clear-filter" aria-label="Show all jobs" title="Show all jobs" onClick={() => desk.clearFilter()}>
            <Glyph name="close" />
          </button>
        )}
      </label>
      {problem && (
        <div class="ij-problem" data-testid="filter-problem" role="status">
          {problem}
        </div>
      )}
    </div>
  );
}
