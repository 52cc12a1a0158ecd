import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** Certificates for tests of TLS, made here (RFC 5280, P-256): a bare machine has no openssl to ask. */

export interface Certificate {
  /** PEM. */
  cert: string;
  key: string;
}

export interface CertificateOptions {
  name: string;
  /** IPv4 addresses and host names that it is good for; absent = an authority. */
  hosts?: readonly string[];
  /** From 2020 to 2021 rather than to 2049. */
  isExpired?: boolean;
}

const secrets = new WeakMap<Certificate, { name: string; privateKey: KeyObject }>();

/** Signed by `issuer`, or by itself. */
export function testCertificate(options: CertificateOptions, issuer?: Certificate): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const by = issuer === undefined ? { name: options.name, privateKey } : secrets.get(issuer);
  if (by === undefined) throw new Error('the issuer is a certificate that was made here');
  const until = options.isExpired === true ? '210101000000Z' : '491231000000Z';
  const content = der(
    0x30,
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ecdsaWithSha256,
    nameOf(by.name),
    der(0x30, der(0x17, Buffer.from('200101000000Z')), der(0x17, Buffer.from(until))),
    nameOf(options.name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...extensions(options.hosts))),
  );
  const signature = sign('sha256', content, by.privateKey);
  const cert = der(0x30, content, ecdsaWithSha256, der(0x03, Buffer.from([0]), signature));
  const lines = cert.toString('base64').match(/.{1,64}/g) ?? [];
  const made = {
    cert: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
  secrets.set(made, { name: options.name, privateKey });
  return made;
}

/** Tag, length, content. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const integer = (bytes: Buffer) => der(0x02, bytes);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const ecdsaWithSha256 = der(0x30, oid('2a8648ce3d040302'));
const commonName = oid('550403');
const yes = der(0x01, Buffer.from([0xff]));

function nameOf(text: string): Buffer {
  return der(0x30, der(0x31, der(0x30, commonName, der(0x0c, Buffer.from(text)))));
}

/** basicConstraints: an authority or not; subjectAltName: addresses and names. */
function extensions(hosts: readonly string[] | undefined): Buffer[] {
  const basicConstraints = oid('551d13');
  if (hosts === undefined) return [der(0x30, basicConstraints, yes, der(0x04, der(0x30, yes)))];
  const isAddress = (host: string) => /^[\d.]+$/.test(host);
  const names = hosts.map((host) =>
    isAddress(host) ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host)),
  );
  const subjectAltName = oid('551d11');
  return [
    der(0x30, basicConstraints, yes, der(0x04, der(0x30))),
    ...(names.length > 0 ? [der(0x30, subjectAltName, der(0x04, der(0x30, ...names)))] : []),
  ];
}
