import type { Look } from "../model.ts";

export const WORDS: Readonly<Record<Look, string>> = {
  running: "running",
  waiting: "waiting",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  stopping: "stopping",
};

/** A shape for each status, so that it can be told without colour. */
export function Shape({ look }: { look: Look }) {
  return (
    <svg class={`ij-shape ij-is-${look}`} width="14" height="14" viewBox="0 0 14 14" aria-hidden="true" focusable="false">
      <Outline look={look} />
    </svg>
  );
}

function Outline({ look }: { look: Look }) {
  switch (look) {
    case "running":
      return (
        <>
          <circle class="ij-ring" cx="7" cy="7" r="5.2" />
          <path class="ij-arc" d="M7 1.8A5.2 5.2 0 0 1 12.2 7" />
        </>
      );
    case "waiting":
      return <circle class="ij-line" cx="7" cy="7" r="5.4" stroke-dasharray="2.6 2.2" />;
    case "done":
      return (
        <>
          <circle class="ij-fill" cx="7" cy="7" r="6.2" />
          <path class="ij-cut" d="M4.2 7.2l2 2 3.7-4.1" />
        </>
      );
    case "failed":
      return (
        <>
          <path class="ij-fill" d="M4.4.8h5.2l3.6 3.6v5.2l-3.6 3.6H4.4L.8 9.6V4.4z" />
          <path class="ij-cut" d="M4.8 4.8l4.4 4.4m0-4.4L4.8 9.2" />
        </>
      );
    case "cancelled":
      return (
        <>
          <circle class="ij-line" cx="7" cy="7" r="5.6" />
          <path class="ij-line" d="M3.2 10.8l7.6-7.6" />
        </>
      );
    case "stopping":
      return (
        <>
          <rect class="ij-line" x="1.9" y="1.9" width="10.2" height="10.2" rx="2.2" />
          <rect class="ij-fill" x="5" y="5" width="4" height="4" rx=".6" />
        </>
      );
  }
}

const GLYPHS = {
  close: "M3.5 3.5l7 7m0-7l-7 7",
  cancel: "M4 4h6v6H4z",
  rerun: "M11.2 7.6A4.3 4.3 0 1 1 9.9 3.9M10.4 1.4v2.9H7.5",
  search: "M9.2 9.2L12 12M10.2 6a4.2 4.2 0 1 1-8.4 0 4.2 4.2 0 0 1 8.4 0z",
  home: "M2 7l5-4.6L12 7M3.6 5.8v5.7h6.8V5.8",
  open: "M8.2 2.8h3v3M11 3L6.6 7.4M6.2 3.4H3v7.8h7.8V8",
  wider: "M8.4 2.5h3.1v3.1M5.6 11.5H2.5V8.4M11.3 2.7L8.2 5.8M2.7 11.3l3.1-3.1",
  narrower: "M11.3 5.8H8.2V2.7M2.7 8.2h3.1v3.1M8.4 5.6l3.1-3.1M5.6 8.4l-3.1 3.1",
  up: "M3.5 8.5L7 5l3.5 3.5",
  down: "M3.5 5.5L7 9l3.5-3.5",
  start: "M3.5 9.5L7 6l3.5 3.5M3.5 3.2h7",
  end: "M3.5 4.5L7 8l3.5-3.5M3.5 10.8h7",
} as const;

export function Glyph({ name }: { name: keyof typeof GLYPHS }) {
  return (
    <svg class="ij-glyph" width="14" height="14" viewBox="0 0 14 14" aria-hidden="true" focusable="false">
      <path d={GLYPHS[name]} />
    </svg>
  );
}
