// Builds ipyjobs/widget/static/board.js and board.css; fails when both together weigh too much.
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { context } from "esbuild";

/** The bundle is sent once per widget model, so its size is a feature: bytes of both files, each gzipped. */
const LIMIT_BYTES = 60_000;

const here = new URL(".", import.meta.url);
const watch = process.argv.includes("--watch");

const weigh = {
  name: "weigh",
  setup(build) {
    build.onEnd((result) => {
      const files = result.outputFiles ?? [];
      if (result.errors.length || !files.length) return;
      const sizes = files.map((file) => gzipSync(file.contents, { level: 9 }).length);
      const total = sizes.reduce((sum, size) => sum + size, 0);
      files.forEach((file, i) => console.log(`${file.path.split("/").pop()}  ${file.contents.length} B, ${sizes[i]} B gzip`));
      console.log(`together ${total} of ${LIMIT_BYTES} B gzip`);
      if (total > LIMIT_BYTES) throw new Error(`the bundle is ${total - LIMIT_BYTES} B too large`);
    });
  },
};

const write = {
  name: "write",
  setup(build) {
    build.onEnd(async (result) => {
      const { mkdir, writeFile } = await import("node:fs/promises");
      const { dirname } = await import("node:path");
      for (const file of result.outputFiles ?? []) {
        await mkdir(dirname(file.path), { recursive: true });
        await writeFile(file.path, file.contents);
      }
    });
  },
};

const build = await context({
  absWorkingDir: fileURLToPath(here),
  entryPoints: { board: "src/index.tsx" },
  outdir: fileURLToPath(new URL("../ipyjobs/widget/static/", here)),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
  write: false,
  plugins: [weigh, write],
});

if (watch) {
  await build.watch();
} else {
  try {
    await build.rebuild();
  } catch {
    process.exitCode = 1;
  }
  await build.dispose();
}
