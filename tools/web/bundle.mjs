// Joins the modules of the console into the one script and the one style sheet that are shipped, without what only readers
// need: its hundred small files would be half as large again, compressed one by one, and as many requests. The modules
// run as they are, too: open console/source.html.
//
//     node tools/web/bundle.mjs [folder]

import { build } from "esbuild";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { resolve } from "node:path";

const web = fileURLToPath(new URL("../../src/gapless/web", import.meta.url));
const folder = resolve(process.argv[2] ?? `${web}/console`);
const styles = ["shared/base.css", "vendor/uplot.css", "console/console.css"];

/** A page finds `vendor/` and `shared/` beside its own files; on the disk they stand beside its folder. */
const beside = {
  name: "beside",
  setup(building) {
    building.onResolve({ filter: /\/vendor\/[^/]+\.js$/ }, ({ path }) => ({ path: `${web}/vendor/${path.split("/").at(-1)}` }));
  },
};

/** How markup is indented is for its readers: htm drops white space that has a line break, between elements. */
const flat = {
  name: "flat",
  setup(building) {
    building.onLoad({ filter: /\/console\/.*\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(/^ +(?=<|\$\{)/gm, "").replace(/(?<=>)\n(?=<)/g, ""),
    }));
  },
};

const options = {
  bundle: true,
  minify: true,
  charset: "utf8",
  legalComments: "none", // vendor/LICENSES holds them
  logLevel: "error",
  target: "es2022",
};

const script = (entry, outfile, plugins = []) =>
  build({ ...options, entryPoints: [`${web}/console/${entry}`], outfile: `${folder}/${outfile}`, format: "esm", metafile: true, plugins: [...plugins, beside, flat] });

const BEGIN = "./begin.min.js";
const { metafile } = await script("begin.js", "begin.min.js");
const { exports } = Object.values(metafile.outputs)[0];
const held = new Set(Object.keys(metafile.inputs).map((path) => resolve(path)));

/** What begins first is a script of its own, and holds what the other builds with, too: it is imported from there, once. */
const begun = {
  name: "begun",
  setup(building) {
    building.onResolve({ filter: /\.js$/ }, ({ path, resolveDir }) => held.has(resolve(resolveDir, path)) ? { path: BEGIN, namespace: "begun" } : undefined);
    building.onResolve({ filter: /./, namespace: "begun" }, () => ({ path: BEGIN, external: true }));
    building.onLoad({ filter: /./, namespace: "begun" }, () => ({ contents: `export { ${exports} } from "${BEGIN}"` }));
  },
};
await script("main.js", "console.min.js", [begun]);

await build({
  ...options,
  stdin: { contents: styles.map((style) => `@import "./${style}";`).join("\n"), loader: "css", resolveDir: web },
  outfile: `${folder}/console.min.css`,
});
