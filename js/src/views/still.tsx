import { Component } from "preact";
import type { ComponentChild, FunctionComponent } from "preact";

/** The component, drawn again only when one of its properties is another one, or a signal it reads changes. */
export function still<P extends object>(draw: (props: P) => ComponentChild): FunctionComponent<P> | (new (props: P) => Component<P>) {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = new Map<string, unknown>(Object.entries(this.props));
      return Object.entries(next).some(([name, value]) => !Object.is(before.get(name), value));
    }

    override render(props: P): ComponentChild {
      return draw(props);
    }
  };
}
