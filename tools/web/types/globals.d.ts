// What a page has beside its modules: the public SDK, a classic script.
import * as sdk from "centrifuge";

declare global {
  const Centrifuge: typeof sdk.Centrifuge;
  type Centrifuge = sdk.Centrifuge;
  type Subscription = sdk.Subscription;
}
