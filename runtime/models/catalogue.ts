import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { EmpError } from '#protocol/errors.ts';
import { ModelManifest } from '#protocol/model.ts';

/** A model that comes with the installation: its files lie in an npm package, nothing is downloaded. */
export interface BuiltInModel {
  manifest: ModelManifest;
  /** Package that holds the files, and their folder in it. */
  packageName: string;
  folder: string;
  /** Who made it and what it was trained on; docs/licences.md has the same. */
  credits: string;
}

const licence = 'MIT';
const credits = (size: string) =>
  `ESRGAN ${size} by Kevin Scott (@upscalerjs), MIT; trained on the DIV2K pictures`;

/** `[name, bytes, sha256]` of each file, as installed; `catalogue.test.ts` measures them again. */
type FileRow = readonly [name: string, bytes: number, sha256: string];

const files = (rows: readonly FileRow[]) => rows.map(([name, bytes, sha256]) => ({ name, bytes, sha256 }));

/** The networks of the service `upscale`, smallest first. */
export const builtInModels: readonly BuiltInModel[] = [
  {
    manifest: ModelManifest.parse({
      id: 'esrgan-slim-x2',
      service: 'upscale',
      kind: 'upscaler',
      files: files([
        ['model.json', 12_336, '8efb488c2caed0196a6163e3f06798f9245e92623ffd50654a26c372e09150ea'],
        ['group1-shard1of1.bin', 888_300, '5cb464ae4d390ce0a771afd5feaf60fbfcdb18ab48a56db98cdf6b88202369de'],
      ]),
      memoryMb: 260,
      licence,
    }),
    packageName: '@upscalerjs/esrgan-slim',
    folder: 'models/x2',
    credits: credits('slim x2'),
  },
  {
    manifest: ModelManifest.parse({
      id: 'esrgan-medium-x2',
      service: 'upscale',
      kind: 'upscaler',
      files: files([
        ['model.json', 30_051, '197b99be1f385b9f7914ecd8fd6e9ebf65833859807aae90666188dbc39cbf93'],
        [
          'group1-shard1of1.bin',
          2_772_940,
          '6a210f30f209192bad4650ea4f619adadbd36228e998aa49a4195c6e7ec70761',
        ],
      ]),
      memoryMb: 320,
      licence,
    }),
    packageName: '@upscalerjs/esrgan-medium',
    folder: 'models/x2',
    credits: credits('medium x2'),
  },
  {
    manifest: ModelManifest.parse({
      id: 'esrgan-thick-x4',
      service: 'upscale',
      kind: 'upscaler',
      files: files([
        ['model.json', 193_998, '960433910ae4b2bff56d78a9d6dffc1289db3441bd67436c574b850dca429461'],
        [
          'group1-shard1of7.bin',
          4_194_304,
          'c2f3147cabd7451ca3c93090c0a0284034a2e1356c0ca16f72d39c46ab7fc9ea',
        ],
        [
          'group1-shard2of7.bin',
          4_194_304,
          '6340d34ef2a1bf7cf32d5fc456662e39f9872a51d500a10907b9313f6278eb16',
        ],
        [
          'group1-shard3of7.bin',
          4_194_304,
          '3467d72b6b9297dcf175244bc3462074ff7ed5c44f8dc3ba7a52bc843a51ee88',
        ],
        [
          'group1-shard4of7.bin',
          4_194_304,
          'c384e24ac8c11bd3e2a9211fcadc8a9077345cd780e59245e758b622f37c83ae',
        ],
        [
          'group1-shard5of7.bin',
          4_194_304,
          '90a60275d08465ba206116731639d5d9c0c44102b7796c68d1346fa0d997eed0',
        ],
        [
          'group1-shard6of7.bin',
          4_194_304,
          '1bfa5f625a7316030ac47b420e2a77b809bce28519d069c45cfa7567d223e524',
        ],
        [
          'group1-shard7of7.bin',
          3_877_136,
          '349e03caf92240e7643f587f36501bd4826e55fa8dc334b29b17cf2699d341e3',
        ],
      ]),
      memoryMb: 440,
      licence,
    }),
    packageName: '@upscalerjs/esrgan-thick',
    folder: 'models/x4',
    credits: credits('thick x4'),
  },
];

export interface BuiltInFile {
  modelId: string;
  /** One entry of the manifest's `files`. */
  file: ModelManifest['files'][number];
  absolutePath: string;
}

/**
 * Where the files of the built-in models lie on this machine, in the catalogue's order. Whoever starts
 * a development hub puts them into its object store. `CONFIG_INVALID` if a package is not installed.
 */
export function builtInFiles(models: readonly BuiltInModel[] = builtInModels): BuiltInFile[] {
  return models.flatMap(({ manifest, packageName, folder }) => {
    const dir = join(packageFolder(packageName), folder);
    return manifest.files.map((file) => ({
      modelId: manifest.id,
      file,
      absolutePath: join(dir, file.name),
    }));
  });
}

function packageFolder(name: string): string {
  try {
    const manifest = findPackageJSON(name, import.meta.url);
    if (manifest !== undefined) return dirname(manifest);
  } catch (cause) {
    throw packageMissing(name, cause);
  }
  throw packageMissing(name);
}

function packageMissing(name: string, cause?: unknown): EmpError {
  return new EmpError('CONFIG_INVALID', {
    detail: `the package ${name} is not installed; install what package.json names and start again`,
    cause,
  });
}
