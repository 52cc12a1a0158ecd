/** Codes of OpenSSL and Node for what only a setting can put right, and what to do. */
const causes: readonly [codes: RegExp, detail: string][] = [
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)|CERT_(UNTRUSTED|SIGNATURE_FAILURE)/,
    'its certificate is of no authority that is trusted here: name the file of its CA, rediss://…?sslrootcert=/path/ca.pem',
  ],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID/,
    'its certificate is for another host: use the name that is in the certificate',
  ],
  [
    /ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/,
    'it speaks no TLS on this port: write redis://, or its TLS port',
  ],
  [
    /ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA|BAD_CERTIFICATE|HANDSHAKE_FAILURE)|KEY_VALUES_MISMATCH/,
    'it does not take our client certificate, or asks for one: name it in the URL by sslcert and sslkey',
  ],
];

/** A TLS alert (RFC 8446: record type 21) where a reply should be: the server took our first command for a handshake. */
const alertForReply = /^Unknown RESP type 21 /;

/** What is wrong between the server's TLS and our settings; null where an error is something else. */
export function tlsRefusal(error: unknown): string | null {
  if (error instanceof Error && alertForReply.test(error.message))
    return 'it speaks TLS on this port: write rediss://, or its port without TLS';
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return causes.find(([codes]) => codes.test(code))?.[1] ?? null;
}
