/** Who this tab is: an animal, until the tab is closed. */

const KEY = "gapless.demo.name";
const TAB_KEY = "gapless.demo.tab";
const ANIMALS = [
  "Badger", "Beaver", "Bison", "Crane", "Dingo", "Dolphin", "Falcon", "Ferret", "Fox", "Gecko", "Hare", "Heron",
  "Ibis", "Jay", "Koala", "Lemur", "Lynx", "Marten", "Moose", "Newt", "Ocelot", "Osprey", "Otter", "Owl", "Panda",
  "Puffin", "Quail", "Raven", "Robin", "Seal", "Stoat", "Swan", "Tapir", "Toad", "Viper", "Walrus", "Wombat", "Yak",
];

/** @param {string} key @param {() => string} make */
function remembered(key, make) {
  const value = sessionStorage.getItem(key) ?? make();
  sessionStorage.setItem(key, value);
  return value;
}

export const name = remembered(KEY, () => ANIMALS[Math.floor(Math.random() * ANIMALS.length)] ?? "Otter");

const random = () => crypto.getRandomValues(new Uint32Array(3)).reduce((text, part) => text + part.toString(36), "");
const tab = remembered(TAB_KEY, random);

/** An id for something that is written here: nobody else has it, and a second try has the same. */
export const newId = () => `${tab}.${random()}`;

/** @param {string} id */
export const isMine = (id) => id.startsWith(`${tab}.`);
