import type { RawData, WebSocket } from 'ws';
import type { PeerLink } from '#protocol/peer.ts';

/** What an accepted socket reports: text frames, and its end, once. */
export interface AcceptHandlers {
  message(text: string): void;
  closed(info: { code: number; reason: string }): void;
}

/**
 * A WebSocket that the other side opened, as a PeerLink. Binary messages are refused with 1003: the
 * link speaks JSON text. `sendLimitBytes` bounds what may wait for a reader that is too slow.
 */
export function acceptedLink(
  socket: WebSocket,
  options: { sendLimitBytes: number; handlers: AcceptHandlers },
): PeerLink {
  const { sendLimitBytes, handlers } = options;
  let over = false;
  const end = (info: { code: number; reason: string }) => {
    if (over) return;
    over = true;
    handlers.closed(info);
  };
  socket.on('message', (data: RawData, isBinary: boolean) => {
    if (isBinary) return socket.close(1003, 'frames are JSON text');
    handlers.message(textOf(data));
  });
  socket.on('close', (code: number, reason: Buffer) => end({ code, reason: reason.toString('utf8') }));
  // ws closes the socket after an error of its own; without a listener it would end the process.
  socket.on('error', (error: Error) => end({ code: 1006, reason: error.message }));
  return {
    send(text) {
      if (over || socket.readyState !== socket.OPEN || socket.bufferedAmount > sendLimitBytes) return false;
      socket.send(text);
      return true;
    },
    bufferedBytes: () => socket.bufferedAmount,
    close(code, reason) {
      socket.close(code, reason);
    },
  };
}

function textOf(data: RawData): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString('utf8');
  return Buffer.from(data as Buffer).toString('utf8');
}
