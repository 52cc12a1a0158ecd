import type { JsonObject } from '#protocol/json.ts';
import { type MachineSpec, shortDrain } from '#runtime/dev.ts';

/** What the job with the biggest network asks for: a hard requirement, unlike the pool. */
const roomy = 'roomy';

/** Three machines, one per pool; a tag says which one may run the biggest network. */
export const demoMachines: readonly MachineSpec[] = [
  { id: 'demo-fast-lane', pool: 'fast-lane', services: ['image:1', 'simulation:2'], settings: shortDrain },
  { id: 'demo-standard', pool: 'standard', services: ['image:1', 'upscale:1'], settings: shortDrain },
  { id: 'demo-heavy', pool: 'heavy', services: ['upscale:1'], settings: { ...shortDrain, EMP_TAGS: roomy } },
];

export const demoPhotos = ['chelsea.jpg', 'coffee.jpg', 'rocket.jpg'] as const;

/** An input of a demo job: one of the photos, or a file that another job made. */
export type DemoInput =
  | { photo: (typeof demoPhotos)[number] }
  | { job: string; output: string; name: string };

export interface DemoJob {
  name: string;
  service: string;
  pool: string;
  priority?: number;
  /** Tags that the machine must have. */
  tags?: string[];
  payload: JsonObject;
  inputs: DemoInput[];
  /** Results that are kept: name of the output, name of the file. */
  saves: { output: string; as: string }[];
}

export const beforeAfterName = 'before-after.png';
export const contactSheetName = 'contact-sheet.jpg';

const stem = (photo: string) => photo.replace('.jpg', '');

const upscale = (photo: (typeof demoPhotos)[number]): DemoJob => ({
  name: `${stem(photo)} x2`,
  service: 'upscale',
  pool: 'standard',
  payload: { model: 'esrgan-slim-x2' },
  inputs: [{ photo }],
  saves: [{ output: 'upscaled.png', as: `${stem(photo)}-x2.png` }],
});

const thumbnail = (photo: (typeof demoPhotos)[number]): DemoJob => ({
  name: `${stem(photo)} thumbnail`,
  service: 'image',
  pool: 'fast-lane',
  payload: {
    operations: [
      { op: 'resize', width: 96, height: 96, fit: 'cover' },
      { op: 'sharpen' },
      { op: 'convert', format: 'webp', name: 'thumbnail' },
    ],
  },
  inputs: [{ photo }],
  saves: [{ output: 'thumbnail.webp', as: `${stem(photo)}-thumbnail.webp` }],
});

const simulation = (name: string, durationMs: number): DemoJob => ({
  name,
  service: 'simulation',
  pool: 'fast-lane',
  payload: { durationMs, progressSteps: Math.ceil(durationMs / 250) },
  inputs: [],
  saves: [],
});

/** Image jobs on single pictures, one of each kind. */
const edits: DemoJob[] = [
  {
    name: 'rocket postcard',
    service: 'image',
    pool: 'fast-lane',
    payload: {
      operations: [
        { op: 'resize', width: 640 },
        { op: 'annotate', text: 'Greetings from the launch pad', size: 30, gravity: 'north' },
        { op: 'convert', format: 'jpeg', quality: 88, name: 'postcard' },
      ],
    },
    inputs: [{ photo: 'rocket.jpg' }],
    saves: [{ output: 'postcard.jpg', as: 'rocket-postcard.jpg' }],
  },
  {
    name: 'coffee with cat',
    service: 'image',
    pool: 'fast-lane',
    payload: {
      operations: [
        { op: 'resize', width: 512 },
        {
          op: 'composite',
          input: 'chelsea.jpg',
          gravity: 'northeast',
          width: 160,
          height: 120,
          opacity: 0.95,
        },
        { op: 'convert', format: 'png', name: 'composite' },
      ],
    },
    inputs: [{ photo: 'coffee.jpg' }, { photo: 'chelsea.jpg' }],
    saves: [{ output: 'composite.png', as: 'coffee-with-cat.png' }],
  },
  {
    name: 'chelsea in grey',
    service: 'image',
    pool: 'fast-lane',
    payload: {
      operations: [
        { op: 'grayscale' },
        { op: 'resize', width: 400 },
        { op: 'convert', format: 'avif', name: 'grey' },
      ],
    },
    inputs: [{ photo: 'chelsea.jpg' }],
    saves: [{ output: 'grey.avif', as: 'chelsea-grey.avif' }],
  },
  {
    name: 'poster',
    service: 'image',
    pool: 'fast-lane',
    payload: {
      operations: [
        { op: 'generate', pattern: 'clouds', width: 480, height: 320, seed: 7 },
        { op: 'annotate', text: 'made from nothing', size: 36, gravity: 'centre' },
        { op: 'convert', format: 'png', name: 'poster' },
      ],
    },
    inputs: [],
    saves: [{ output: 'poster.png', as: 'poster.png' }],
  },
];

/** The eyes of the cat, small; the biggest network draws them four times as large. */
const eyes: DemoJob[] = [
  {
    name: 'chelsea eyes',
    service: 'image',
    pool: 'fast-lane',
    priority: 90,
    payload: {
      operations: [
        { op: 'crop', left: 56, top: 40, width: 128, height: 96 },
        { op: 'convert', format: 'png', name: 'eyes' },
      ],
    },
    inputs: [{ photo: 'chelsea.jpg' }],
    saves: [],
  },
  {
    name: 'chelsea eyes x4',
    service: 'upscale',
    pool: 'heavy',
    priority: 90,
    tags: [roomy],
    payload: { model: 'esrgan-thick-x4', compareWith: 'bicubic' },
    inputs: [{ job: 'chelsea eyes', output: 'eyes.png', name: 'eyes.png' }],
    saves: [
      { output: 'upscaled.png', as: 'chelsea-eyes-x4.png' },
      { output: 'comparison.png', as: beforeAfterName },
    ],
  },
];

const medium: DemoJob = {
  name: 'coffee x2, medium',
  service: 'upscale',
  pool: 'standard',
  payload: { model: 'esrgan-medium-x2' },
  inputs: [{ photo: 'coffee.jpg' }],
  saves: [{ output: 'upscaled.png', as: 'coffee-x2-medium.png' }],
};

const contactSheet: DemoJob = {
  name: 'contact sheet',
  service: 'image',
  pool: 'fast-lane',
  payload: {
    operations: [
      { op: 'contactSheet', columns: 4, cellWidth: 256, cellHeight: 192 },
      { op: 'convert', format: 'jpeg', quality: 90, name: 'sheet' },
    ],
  },
  inputs: [
    ...demoPhotos.map(
      (photo): DemoInput => ({
        job: `${stem(photo)} x2`,
        output: 'upscaled.png',
        name: `${stem(photo)}-x2.png`,
      }),
    ),
    { job: 'coffee x2, medium', output: 'upscaled.png', name: 'coffee-x2-medium.png' },
    { job: 'chelsea eyes x4', output: 'upscaled.png', name: 'chelsea-eyes-x4.png' },
    { job: 'rocket postcard', output: 'postcard.jpg', name: 'rocket-postcard.jpg' },
    { job: 'coffee with cat', output: 'composite.png', name: 'coffee-with-cat.png' },
    { job: 'poster', output: 'poster.png', name: 'poster.png' },
  ],
  saves: [{ output: 'sheet.jpg', as: contactSheetName }],
};

/** Every job of the demo. One that needs another's file is submitted when that one has succeeded. */
export const demoJobs: readonly DemoJob[] = [
  ...eyes,
  ...demoPhotos.map(upscale),
  medium,
  ...demoPhotos.map(thumbnail),
  ...edits,
  ...Array.from({ length: 10 }, (_, index) => simulation(`short ${index + 1}`, 200 + 50 * index)),
  ...Array.from({ length: 2 }, (_, index) => simulation(`long ${index + 1}`, 4_000)),
  contactSheet,
];
