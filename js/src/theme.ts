/** Light or dark, as the host says; followed for as long as the view lives. */

export type Theme = "light" | "dark";

function themeNow(system: MediaQueryList): Theme {
  const { body, documentElement: html } = document;
  const jupyter = body.dataset["jpThemeLight"];
  if (jupyter !== undefined) return jupyter === "false" ? "dark" : "light";
  if (/\bvscode-(dark|high-contrast(?!-light))\b/.test(body.className)) return "dark";
  if (/\bvscode-(light|high-contrast-light)\b/.test(body.className)) return "light";
  const named = html.getAttribute("theme") ?? html.dataset["theme"] ?? body.dataset["theme"]; // Colab, Sphinx, marimo
  if (named === "dark" || named === "light") return named;
  return system.matches ? "dark" : "light";
}

/** Mark `root` with the theme now and whenever it changes; returns what stops it. */
export function followTheme(root: HTMLElement): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const mark = (): void => {
    root.dataset["theme"] = themeNow(system);
  };
  const observer = new MutationObserver(mark);
  const options = { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-theme", "theme"] };
  observer.observe(document.body, options);
  observer.observe(document.documentElement, options);
  system.addEventListener("change", mark);
  mark();
  return () => {
    observer.disconnect();
    system.removeEventListener("change", mark);
  };
}
