/** Keeps plain keys pressed in a view from the notebook around it, and lets through those with Ctrl or Cmd. */

/** Lumino ignores a key whose way up from the focused element meets this before anything that a shortcut matches. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/**
 * Mark the view and the element that has the focus, before anybody else sees the key; returns what stops it.
 *
 * The root alone is not enough: a shortcut for `.jp-Notebook :focus` (such as "D D", delete this cell) matches the
 * focused row before the way up reaches the root.
 */
export function keepKeys(root: HTMLElement): () => void {
  const mark = (event: KeyboardEvent): void => {
    const { target } = event;
    if (!(target instanceof Element) || !root.contains(target)) return;
    const ours = !event.ctrlKey && !event.metaKey;
    for (const each of [root, target]) {
      if (ours) each.setAttribute(SUPPRESS, "true");
      else each.removeAttribute(SUPPRESS);
    }
  };
  window.addEventListener("keydown", mark, true);
  return () => window.removeEventListener("keydown", mark, true);
}
