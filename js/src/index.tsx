/** The widget's entry: one store per model, one desk per view. */

import { render } from "preact";
import "./css/base.css";
import "./css/board.css";
import "./css/table.css";
import "./css/detail.css";
import "./css/app.css";
import "./css/widths.css";
import { Desk } from "./desk.ts";
import { Store } from "./store.ts";
import { channelOf } from "./transport.ts";
import type { WidgetModel } from "./transport.ts";
import { Card, Dashboard } from "./views/board.tsx";

interface InitializeProps {
  readonly model: WidgetModel;
}

interface RenderProps extends InitializeProps {
  readonly el: HTMLElement;
}

/** anywidget calls this once per model; what it returns is shared by that model's views. */
export default function widget() {
  let store: Store | null = null;
  const shared = (model: WidgetModel): Store => (store ??= new Store(channelOf(model)));
  return {
    /** Nothing is sent before there is a view: a model may have been restored from a file and never be shown. */
    initialize({ model }: InitializeProps): void {
      shared(model);
    },

    render({ model, el }: RenderProps): () => void {
      const own = shared(model);
      const desk = new Desk(own);
      const focus = model.get("job_id");
      const id = typeof focus === "string" && focus !== "" ? focus : null;
      if (id !== null) desk.open(id);
      const close = own.open();
      render(id === null ? <Dashboard desk={desk} /> : <Card desk={desk} id={id} />, el);
      return () => {
        render(null, el);
        close();
      };
    },
  };
}
