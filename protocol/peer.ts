/**
 * One ordered, lossy-on-close message link. Sockets sit behind it; the in-process link of simulations
 * still encodes every message, so that the codec is exercised there too.
 */
export interface PeerLink {
  /** Queues one text frame; false if the link is closed or its send buffer is over its limit. */
  send(text: string): boolean;
  /** Bytes queued and not yet handed to the network. */
  bufferedBytes(): number;
  close(code: number, reason: string): void;
}

export interface PeerHandlers {
  open(link: PeerLink): void;
  message(text: string): void;
  /** Called once, also when the link never opened. */
  closed(info: { code: number; reason: string }): void;
}

export interface PeerDialer {
  /** Starts to connect; the answer is the way to give up. */
  dial(options: { url: string; token: string; handlers: PeerHandlers }): { abort(): void };
}
