import { useLayoutEffect, useRef } from "preact/hooks";
import type { Desk } from "../desk.ts";
import { KEYS as FIELDS } from "../query.ts";
import { Glyph } from "./shapes.tsx";

const KEYS: readonly (readonly [string, string])[] = [
  ["↑ ↓  j k", "move"],
  ["Enter  Esc", "open and close a job"],
  ["x", "select"],
  ["Shift click", "select up to here"],
  ["a", "select all that match"],
  ["/", "filter, or find in the open log"],
  ["[  ]", "previous and next failed job"],
  ["c", "cancel"],
  ["r", "rerun"],
  ["l", "log"],
  ["o", "open its web app in a tab"],
  ["f  w", "follow and wrap the log"],
  ["?", "these keys"],
];

export function Help({ desk }: { desk: Desk }) {
  const close = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => close.current?.focus(), []);
  const hide = () => (desk.help.value = false);
  return (
    <div class="ij-veil" onClick={(event) => event.target === event.currentTarget && hide()}>
      <div class="ij-help" role="dialog" aria-modal="true" aria-label="Keys" data-testid="help">
        <div class="ij-help-head">
          <b>Keys</b>
          <span>while the focus is in here</span>
          <span class="ij-grow" />
          <button ref={close} type="button" class="ij-icon" aria-label="Close" onClick={hide}>
            <Glyph name="close" />
          </button>
        </div>
        <dl>
          {KEYS.map(([keys, what]) => (
            <div key={keys}>
              <dt>
                {keys.split(/\s+/).map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <p>
          Filter by words, or by {FIELDS.map((each) => `${each}:`).join(" ")}. Values with spaces go in quotes, commas are
          alternatives, a leading <code>-</code> excludes.
        </p>
      </div>
    </div>
  );
}
