/** What the client of the hub hands to its parts, `client.limits` and others: each asks through it and knows no connection. */
export type Call = <T>(asked: {
  path: string;
  method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  json?: unknown;
  signal?: AbortSignal | undefined;
}) => Promise<T>;

/** Every call may be given up by its caller. */
export interface Signalled {
  signal?: AbortSignal | undefined;
}
