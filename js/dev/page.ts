/** Shows the built bundle on a made-up kernel. */

import { FakeKernel } from "./kernel.ts";

const asked = new URLSearchParams(location.search);
const number = (name: string, otherwise: number): number => Number(asked.get(name) ?? otherwise);

document.body.dataset["jpThemeLight"] = asked.has("dark") ? "false" : "true";
const view = document.getElementById("view");
if (asked.has("width") && view) view.style.width = `${number("width", 1180) - 32}px`;

const kernel = new FakeKernel({
  jobs: number("jobs", 12),
  patches: number("patches", 2),
  records: number("records", 20),
  hostile: asked.has("hostile"),
  job: asked.has("card") ? (asked.get("card") || "job1") : "",
});
Object.assign(window, { kernel });
if (asked.has("address")) kernel.serve(asked.get("address") ?? "", !asked.has("starting"));
if (asked.has("base")) {
  const config = Object.assign(document.createElement("script"), { id: "jupyter-config-data", type: "application/json" });
  config.textContent = JSON.stringify({ baseUrl: "/" });
  document.head.append(config);
}

const state = asked.get("state");
if (state === "absent") kernel.mute = true;
const bundle: string = "./board.js";
const { default: widget } = await import(bundle);
const parts = widget();
parts.initialize({ model: kernel.model });
const dispose: unknown = parts.render({ model: kernel.model, el: view });
Object.assign(window, { dispose });
if (state === "gone") setTimeout(() => kernel.restart(), 300);
if (state === "late") setTimeout(() => (kernel.mute = true), 300);
