/* The first byte chooses the family, the rest is its message. */
#include "../unit/machine_families.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] < FAMILY_COUNT(machine_families)) {
        machine_families[data[0]].pass(data + 1, size - 1);
    }
    return 0;
}
