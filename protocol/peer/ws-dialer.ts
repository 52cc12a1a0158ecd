import { WebSocket } from 'ws';
import { frameLimitBytes } from '#protocol/link.ts';
import type { PeerDialer, PeerHandlers, PeerLink } from '#protocol/peer.ts';

/** More than this waiting in the socket: the hub does not read, and nothing more is queued, bytes. */
const bufferLimitBytes = 4 * 1_048_576;
/** Frames count characters; UTF-8 may need four bytes for one. */
const payloadLimitBytes = 4 * frameLimitBytes;

/**
 * Close code for an upgrade that was refused: `4000 + status` (4401 for 401), 1006 where no answer came.
 * The reason carries what the hub said, at most 120 characters.
 */
export function refusalCode(status: number): number {
  return 4_000 + status;
}

function linkOf(socket: WebSocket): PeerLink {
  return {
    send(text) {
      if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > bufferLimitBytes) return false;
      socket.send(text);
      return true;
    },
    bufferedBytes: () => socket.bufferedAmount,
    close(code, reason) {
      socket.close(code, reason.slice(0, 120));
      // Not awaited: a hub that is gone would keep the handshake, and the socket, open for 30 s.
      socket.terminate();
    },
  };
}

/** Wires a socket to the handlers; `closed` is called exactly once. */
function wire(socket: WebSocket, handlers: PeerHandlers): void {
  let refusal: { code: number; reason: string } | null = null;
  let over = false;
  const closed = (info: { code: number; reason: string }) => {
    if (over) return;
    over = true;
    handlers.closed(info);
  };
  socket.on('open', () => handlers.open(linkOf(socket)));
  socket.on('message', (data, isBinary) => {
    if (isBinary) return socket.close(1003, 'frames are text');
    handlers.message(data.toString());
  });
  socket.on('unexpected-response', (request, response) => {
    response.resume();
    refusal = {
      code: refusalCode(response.statusCode ?? 500),
      reason: `the hub answered the upgrade with status ${response.statusCode}`,
    };
    request.destroy();
    closed(refusal);
  });
  // Without a listener an error of the socket would end the process; the close that follows tells.
  socket.on('error', (error) => {
    refusal ??= { code: 1006, reason: error.message };
  });
  socket.on('close', (code, reason) => closed(refusal ?? { code, reason: reason.toString() }));
}

/** Dials hubs by WebSocket, with the token as bearer. No compression: its contexts cost more memory than they save. */
export const wsDialer: PeerDialer = {
  dial({ url, token, handlers }) {
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${token}` },
      perMessageDeflate: false,
      maxPayload: payloadLimitBytes,
      followRedirects: false,
    });
    wire(socket, handlers);
    return { abort: () => socket.terminate() };
  },
};
