/** Where a web app answers, as far as what the kernel says of it may be trusted. Pure. */

/** The page that asks, as its own address tells. */
export interface Page {
  readonly hostname: string;
  readonly origin: string;
  /** Whether it was served over https. */
  readonly secure: boolean;
  /** The path below which Jupyter answers, "/user/ada/"; null where the host is not a Jupyter server. */
  readonly base: string | null;
}

/** An address that may be opened: of this machine or of the page's own host, with a port, and not the page's own. */
export interface Place {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Path, query and fragment, without steps upwards; begins with a slash. */
  readonly path: string;
  readonly secure: boolean;
}

const LOOPBACK: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);
// Stricter than a browser, which forgives user names, backslashes, line ends and numbers of many kinds.
const SHAPE = /^(https?):\/\/(\[::1\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?):(\d{1,5})([/?#][\w\-.~!$&'()*+,;=:@%/?#]*)?$/;

export const isLoopback = (host: string): boolean => LOOPBACK.has(host);

/** The place that `address` names; null when it is to be shown as text and nothing else. */
export function placeOf(address: string, page: Page): Place | null {
  const match = address.length > 2000 ? null : SHAPE.exec(address);
  if (!match) return null;
  const [, scheme, said = "", digits, rest = ""] = match;
  const host = said === "0.0.0.0" ? "127.0.0.1" : said; // listens everywhere, so here as well
  const port = Number(digits);
  if (!isLoopback(host) && host !== page.hostname) return null;
  if (port < 1 || port > 65535) return null;
  const url = parsed(`${scheme}://${host}:${port}${rest}`);
  if (!url || url.hostname !== host || url.username !== "" || sameServer(url, host, page)) return null;
  return { url: url.href, host, port, path: `${url.pathname}${url.search}${url.hash}`, secure: scheme === "https" };
}

/** A frame of the page's own origin could reach into the page and out of any sandbox. */
function sameServer(url: URL, host: string, page: Page): boolean {
  const own = parsed(page.origin);
  return own !== null && own.port === url.port && own.protocol === url.protocol && (own.hostname === host || (isLoopback(own.hostname) && isLoopback(host)));
}

function parsed(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

/** The address in short, for a row: ":8502". */
export const portOf = (place: Place): string => `:${place.port}`;

/** Host and port, and a path where there is one: "127.0.0.1:8502/app". */
export function shortOf(place: Place): string {
  return `${place.host}:${place.port}${place.path === "/" ? "" : place.path}`;
}
