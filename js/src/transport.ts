/** Between a widget model and the store: messages out and in, and whether the kernel is there at all. */

import type { MessageIn, MessageOut } from "./schema.gen.ts";
import { readMessage } from "./wire.ts";

/** What anywidget hands over, as far as it is used here. */
export interface WidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(name: string, callback: (this: unknown, ...values: unknown[]) => void): void;
  off(name: string, callback?: (this: unknown, ...values: unknown[]) => void): void;
  readonly widget_manager?: unknown;
}

export interface Channel {
  send(message: MessageIn): void;
  /** Hear what comes; returns what stops it. */
  listen(message: (message: MessageOut) => void, gone: (why: string) => void): () => void;
}

export function channelOf(model: WidgetModel): Channel {
  return {
    send: (message) => model.send(message),
    listen(message, gone) {
      const custom = (content: unknown): void => {
        const read = readMessage(content);
        if (read) message(read);
      };
      // ipywidgets sets `comm_live` to false when the kernel restarts, and says no more than that it has changed.
      // A host where it could also become true again is asked where it lets itself be.
      const live = function (this: unknown): void {
        if (field(field(this, "model"), "comm_live") !== true) later(gone);
      };
      const closed = (): void => gone("this view was closed by the kernel");
      model.on("msg:custom", custom);
      model.on("comm_live_update", live);
      model.on("comm:close", closed);
      const unwatch = watchKernel(model.widget_manager, gone);
      return () => {
        unwatch();
        model.off("msg:custom", custom);
        model.off("comm_live_update", live);
        model.off("comm:close", closed);
      };
    },
  };
}

function field(from: unknown, name: string): unknown {
  return typeof from === "object" && from !== null ? Reflect.get(from, name) : undefined;
}

/** JupyterLab calls a kernel that died "restarting" before it calls it "autorestarting", in the same task. */
function later(gone: (why: string) => void): void {
  setTimeout(() => gone("the kernel was restarted"));
}

const ENDINGS: Readonly<Record<string, string>> = {
  autorestarting: "the kernel died and was restarted",
  terminating: "the kernel was shut down",
  dead: "the kernel died",
};

/** Follow the kernel's status where the host shows its connection (JupyterLab, Notebook); elsewhere do nothing. */
function watchKernel(manager: unknown, gone: (why: string) => void): () => void {
  const kernel = field(manager, "kernel");
  const undo = [
    follow(field(kernel, "statusChanged"), (status) => {
      const why = typeof status === "string" ? ENDINGS[status] : undefined;
      if (why) gone(why);
      else if (status === "restarting") later(gone);
    }),
    follow(field(kernel, "disposed"), () => gone("the kernel was shut down")),
  ];
  return () => undo.forEach((each) => each());
}

/** Connect to a Lumino signal, if it is one. */
function follow(signal: unknown, then: (value: unknown) => void): () => void {
  const connect = field(signal, "connect");
  const disconnect = field(signal, "disconnect");
  if (typeof connect !== "function" || typeof disconnect !== "function") return () => undefined;
  const slot = (_sender: unknown, value: unknown): void => then(value);
  connect.call(signal, slot);
  return () => void disconnect.call(signal, slot);
}
