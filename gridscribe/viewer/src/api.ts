// The one way to the HTTP API: every request, of JSON and of pictures alike, carries the token and fails in words.
import { askToken, storedToken } from "./token.js";

export type Params = Record<string, string | number | boolean | readonly number[] | null | undefined>;

/** What the service, or the way to it, said went wrong. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Whether an error only says that nobody waits for the answer any more. */
export function wasAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

let asking: Promise<string | null> | null = null;

/** The parsed answer of a route under /v1. `null` and `undefined` parameters are left out. Throws `ApiError`. */
export async function json<T>(route: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const response = await request(route, params, signal);
  return (await response.json()) as T;
}

/** A picture of a route under /v1; null where the service says that nothing is there (204). Throws `ApiError`. */
export async function picture(route: string, params: Params = {}, signal?: AbortSignal): Promise<Blob | null> {
  const response = await request(route, params, signal);
  return response.status === 204 ? null : response.blob();
}

async function request(route: string, params: Params, signal?: AbortSignal): Promise<Response> {
  const address = `/v1/${route}${queryString(params)}`;
  for (;;) {
    const token = storedToken();
    const response = await send(address, token, signal);
    if (response.ok) return response;
    if (response.status !== 401) throw new ApiError(await messageOf(response), response.status);
    if (token !== storedToken()) continue; // another request has asked for a new one meanwhile
    asking ??= askToken(token !== null).finally(() => {
      asking = null;
    });
    if ((await asking) === null) throw new ApiError("This service answers only with a token: reload the page to enter one.", 401);
  }
}

async function send(address: string, token: string | null, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = token === null ? {} : { Authorization: `Bearer ${token}` };
  try {
    return await fetch(address, signal === undefined ? { headers } : { headers, signal });
  } catch (error) {
    if (wasAborted(error)) throw error;
    throw new ApiError("The service cannot be reached: is it still running?", 0);
  }
}

function queryString(params: Params): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined) pairs.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  return pairs.size === 0 ? "" : `?${pairs}`;
}

async function messageOf(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as { error?: { message?: string } };
    if (body.error?.message) return body.error.message;
  } catch {
    // not the service's own error: what stands below says what is known
  }
  return `The service answered ${response.status} ${response.statusText}`.trim();
}
