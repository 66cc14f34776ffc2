import { useSignal } from "@preact/signals";

/** Copies; says that it did. */
export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const said = useSignal("");
  const say = (word: string) => {
    said.value = word;
    setTimeout(() => (said.value = ""), 1500);
  };
  const copy = () => void copyText(text).then((ok) => say(ok ? "Copied" : "Select and copy by hand"));
  return (
    <button type="button" class="ij-btn ij-small" data-testid="copy" aria-live="polite" onClick={copy}>
      {said.value || label}
    </button>
  );
}

async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that are not served securely have no clipboard; the old way still works there.
    const field = document.createElement("textarea");
    field.value = text;
    field.style.cssText = "position:fixed;opacity:0";
    document.body.append(field);
    const focused = document.activeElement;
    field.select();
    const ok = document.execCommand("copy");
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return ok;
  }
}
